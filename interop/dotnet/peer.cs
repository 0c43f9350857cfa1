// A .NET program on the other side of the pipe, for the interop tests. One peer.exe runs on every runtime from 3.1 up.
//
//   peer about                          prints the runtime's name and version
//   peer named-server NAME [options]    peer named-client NAME [options]
//   peer anonymous-server [options] CHILD ARG...
//       "{handle}" in an ARG becomes GetClientHandleAsString(); ARGs are passed on as they are
//   peer anonymous-client HANDLE [options]
//
// What a connected stream does, one WORK for each round (the last one for all further rounds):
//   --do=WORK,WORK...
//   echo        sends all bytes back until the end
//   read        copies the pipe to stdout until the end
//   lines       stdin's lines go out; with --answers one line comes back for each and is printed
//   end         reads until the end and reports how many bytes came
//   push:N      sends N bytes of the pattern, in a single Write if they are few
//   pull:N      receives exactly N bytes and compares them with the pattern
//   swap:N      push and pull at the same time, on two threads
//   hold        waits for a line on stdin
// Works are joined by "+": "hold+pull:5" waits for a line and then receives.
//
// Options:
//   --dir=in|out|inout      --rounds=N (server: Disconnect and wait again; client: a new stream each time)
//   --opts=async,currentuser,writethrough,first             --inbuf=N  --outbuf=N
//   server: --instances=N (streams, each served by a thread)  --max=N  --user  --runas
//           --retry (wait on after CurrentUserOnly refused somebody)
//   client: --clients=N (streams, each on a thread)  --timeout=MS (of Connect)
//   anonymous server: --keep (no DisposeLocalCopyOfClientHandle)  --inherit=no
//
// Every state change is one line on stderr: "listening", "connected", "ended after N bytes", "pulled N", "pushed N",
// "disconnected", "closed". A failure is "error TYPE: MESSAGE" and exit status 3.
using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.IO.Pipes;
using System.Runtime.InteropServices;
using System.Security.Principal;
using System.Threading;

public static class Peer
{
    [DllImport("libc")] static extern uint geteuid();

    static readonly Dictionary<string, string> Options = new Dictionary<string, string>();
    static readonly List<string> Positions = new List<string>();
    static int status;

    public static int Main(string[] args)
    {
        foreach (string arg in args)
        {
            // Behind anonymous-server's CHILD everything belongs to the child, options included.
            bool verbatim = Positions.Count >= 2 && Positions[0] == "anonymous-server";
            if (verbatim || !arg.StartsWith("--", StringComparison.Ordinal)) { Positions.Add(arg); continue; }
            string[] parts = arg.Substring(2).Split(new[] { '=' }, 2);
            Options[parts[0]] = parts.Length == 2 ? parts[1] : "yes";
        }
        Reporting(() =>
        {
            switch (Positions.Count > 0 ? Positions[0] : "")
            {
                case "about": Console.Out.WriteLine(RuntimeInformation.FrameworkDescription); break;
                case "named-server": NamedServer(); break;
                case "named-client": NamedClient(); break;
                case "anonymous-server": AnonymousServer(); break;
                case "anonymous-client": AnonymousClient(); break;
                default: throw new ArgumentException("about, named-server, named-client, anonymous-server or anonymous-client?");
            }
        });
        return status;
    }

    static void NamedServer()
    {
        int instances = Number("instances", 1), rounds = Rounds();
        var streams = new List<NamedPipeServerStream>();
        for (int i = 0; i < instances; i++)
            streams.Add(new NamedPipeServerStream(Positions[1], Direction("inout"), Number("max", instances),
                PipeTransmissionMode.Byte, StreamOptions(), Number("inbuf", 0), Number("outbuf", 0)));
        Note("listening");
        OnThreads(instances, i =>
        {
            using (NamedPipeServerStream stream = streams[i])
                for (int round = 0; round < rounds; round++)
                {
                    if (round > 0) { stream.Disconnect(); Note("disconnected"); }
                    WaitForConnection(stream);
                    Note("connected");
                    if (Has("user")) Note("user " + stream.GetImpersonationUserName());
                    if (Has("runas")) stream.RunAsClient(() => Note("euid " + geteuid()));
                    Work(stream, round);
                }
        });
        Note("closed");
    }

    static void WaitForConnection(NamedPipeServerStream stream)
    {
        for (;;)
        {
            try { stream.WaitForConnection(); return; }
            catch (UnauthorizedAccessException e) when (Has("retry")) { Note("refused " + e.Message); }
        }
    }

    static void NamedClient()
    {
        OnThreads(Number("clients", 1), _ =>
        {
            for (int round = 0; round < Rounds(); round++)
                using (var stream = new NamedPipeClientStream(".", Positions[1], Direction("inout"), StreamOptions(), TokenImpersonationLevel.Impersonation))
                {
                    if (Has("timeout")) stream.Connect(Number("timeout", 0)); else stream.Connect();
                    Note("connected");
                    Work(stream, round);
                }
        });
        Note("closed");
    }

    static void AnonymousServer()
    {
        var inherit = Get("inherit", "yes") == "no" ? HandleInheritability.None : HandleInheritability.Inheritable;
        using (var stream = new AnonymousPipeServerStream(Direction("out"), inherit, Number("outbuf", 0)))
        {
            string handle = stream.GetClientHandleAsString();
            var start = new ProcessStartInfo(Positions[1]) { UseShellExecute = false };
            foreach (string arg in Positions.GetRange(2, Positions.Count - 2)) start.ArgumentList.Add(arg.Replace("{handle}", handle));
            using (Process child = Process.Start(start))
            {
                if (!Has("keep")) stream.DisposeLocalCopyOfClientHandle();
                Work(stream, 0);
                stream.Dispose();
                child.WaitForExit();
                Note("child exit " + child.ExitCode);
            }
        }
    }

    static void AnonymousClient()
    {
        using (var stream = new AnonymousPipeClientStream(Direction("in"), Positions[1]))
        {
            Note("connected");
            Work(stream, 0);
        }
        Note("closed");
    }

    static void Work(PipeStream stream, int round)
    {
        string[] works = Get("do", "echo").Split(',');
        foreach (string work in works[Math.Min(round, works.Length - 1)].Split('+'))
        {
            string[] parts = work.Split(':');
            long count = parts.Length > 1 ? long.Parse(parts[1]) : 0;
            switch (parts[0])
            {
                case "echo": Copy(stream, stream); break;
                case "read": using (Stream output = Console.OpenStandardOutput()) Copy(stream, output); break;
                case "end": Copy(stream, Stream.Null); break;
                case "lines": Lines(stream); break;
                case "push": Push(stream, count); break;
                case "pull": Pull(stream, count); break;
                case "swap": OnThreads(2, i => { if (i == 0) Push(stream, count); else Pull(stream, count); }); break;
                case "hold": Console.In.ReadLine(); break;
                default: throw new ArgumentException("no such work: " + work);
            }
        }
    }

    static void Copy(Stream from, Stream to)
    {
        var buffer = new byte[65536];
        long total = 0;
        for (int n; (n = from.Read(buffer, 0, buffer.Length)) > 0; total += n) { to.Write(buffer, 0, n); to.Flush(); }
        Note("ended after " + total + " bytes");
    }

    static void Lines(Stream stream)
    {
        var writer = new StreamWriter(stream) { AutoFlush = true };
        StreamReader reader = Has("answers") ? new StreamReader(stream) : null;
        for (string line; (line = Console.In.ReadLine()) != null;)
        {
            writer.WriteLine(line);
            if (reader == null) continue;
            string answer = reader.ReadLine();
            if (answer == null) { Note("ended"); return; }
            Console.Out.WriteLine(answer);
            Console.Out.Flush();
        }
    }

    // The same as in interop/src/pattern.rs. The length is prime, so that a lost or doubled block of any usual size shows.
    static readonly byte[] Pattern = MakePattern();

    static byte[] MakePattern()
    {
        var pattern = new byte[65521];
        for (int i = 0; i < pattern.Length; i++) pattern[i] = (byte)(i * 167 + (i >> 8) * 13);
        return pattern;
    }

    static void Push(Stream stream, long count)
    {
        for (long left = count; left > 0;)
        {
            int n = (int)Math.Min(left, Pattern.Length);
            stream.Write(Pattern, 0, n);
            left -= n;
        }
        stream.Flush();
        Note("pushed " + count);
    }

    static void Pull(Stream stream, long count)
    {
        var buffer = new byte[65536];
        int at = 0;
        for (long total = 0; total < count;)
        {
            int n = stream.Read(buffer, 0, (int)Math.Min(buffer.Length, count - total));
            if (n == 0) throw new EndOfStreamException("the stream ended after " + total + " of " + count + " bytes");
            for (int i = 0; i < n; i++)
            {
                if (buffer[i] != Pattern[at]) throw new InvalidDataException("byte " + (total + i) + " is " + buffer[i] + " instead of " + Pattern[at]);
                if (++at == Pattern.Length) at = 0;
            }
            total += n;
        }
        Note("pulled " + count);
    }

    static PipeDirection Direction(string otherwise)
    {
        switch (Get("dir", otherwise))
        {
            case "in": return PipeDirection.In;
            case "out": return PipeDirection.Out;
            default: return PipeDirection.InOut;
        }
    }

    static PipeOptions StreamOptions()
    {
        PipeOptions options = PipeOptions.None;
        foreach (string word in Get("opts", "").Split(','))
            switch (word)
            {
                case "async": options |= PipeOptions.Asynchronous; break;
                case "currentuser": options |= PipeOptions.CurrentUserOnly; break;
                case "writethrough": options |= PipeOptions.WriteThrough; break;
                case "first": options |= (PipeOptions)0x00080000; break; // FirstPipeInstance, which 3.1 has no word for
            }
        return options;
    }

    static int Rounds() { return Number("rounds", Get("do", "").Split(',').Length); }
    static bool Has(string key) { return Options.ContainsKey(key); }
    static string Get(string key, string otherwise) { string value; return Options.TryGetValue(key, out value) ? value : otherwise; }
    static int Number(string key, int otherwise) { return int.Parse(Get(key, otherwise.ToString())); }

    static void Note(string line) { lock (Options) { Console.Error.WriteLine(line); Console.Error.Flush(); } }

    static void Reporting(Action action)
    {
        try { action(); }
        catch (Exception e) { status = 3; Note("error " + e.GetType().Name + ": " + e.Message); }
    }

    static void OnThreads(int count, Action<int> action)
    {
        var threads = new List<Thread>();
        for (int i = 0; i < count; i++)
        {
            int index = i;
            var thread = new Thread(() => Reporting(() => action(index)));
            thread.Start();
            threads.Add(thread);
        }
        foreach (Thread thread in threads) thread.Join();
    }
}
