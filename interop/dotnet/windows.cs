// The .NET program on the other side of the pipe in the tests for Windows, for .NET Core 2.0.
//
//   windows server NAME byte|message     echoes until the end; a message comes back as a message
//   windows client NAME byte|message     sends four texts, one of 100,000 bytes, and prints what comes back
//   windows reader HANDLE                 prints what comes through an anonymous pipe
//
// Messages are read in pieces of 1000 bytes, so that IsMessageComplete is needed to put them together.
using System;
using System.IO;
using System.IO.Pipes;
using System.Text;

public static class Peer
{
    public static int Main(string[] args)
    {
        try
        {
            switch (args[0])
            {
                case "server": Server(args[1], Mode(args[2])); return 0;
                case "client": Client(args[1], Mode(args[2])); return 0;
                case "reader": Reader(args[1]); return 0;
                default: throw new ArgumentException("server, client or reader?");
            }
        }
        catch (Exception error)
        {
            Console.Out.WriteLine("error " + error.GetType().Name + ": " + error.Message);
            return 3;
        }
    }

    static PipeTransmissionMode Mode(string text)
    {
        return text == "message" ? PipeTransmissionMode.Message : PipeTransmissionMode.Byte;
    }

    static void Server(string name, PipeTransmissionMode mode)
    {
        using (var pipe = new NamedPipeServerStream(name, PipeDirection.InOut, 1, mode, PipeOptions.Asynchronous, 4096, 4096))
        {
            Console.Out.WriteLine("listening");
            pipe.WaitForConnection();
            Console.Out.WriteLine("connected " + pipe.GetImpersonationUserName());
            byte[] message;
            while ((message = Receive(pipe, mode)).Length > 0) pipe.Write(message, 0, message.Length);
            Console.Out.WriteLine("ended");
        }
    }

    static void Client(string name, PipeTransmissionMode mode)
    {
        using (var pipe = new NamedPipeClientStream(".", name, PipeDirection.InOut, PipeOptions.Asynchronous,
            System.Security.Principal.TokenImpersonationLevel.Impersonation))
        {
            pipe.Connect(20000);
            pipe.ReadMode = mode;
            Console.Out.WriteLine("connected " + pipe.NumberOfServerInstances);
            foreach (string text in new[] { "one", "and another", new string('x', 100000), "last" })
            {
                byte[] bytes = Encoding.UTF8.GetBytes(text);
                var writing = pipe.WriteAsync(bytes, 0, bytes.Length);
                byte[] back = mode == PipeTransmissionMode.Message ? Receive(pipe, mode) : Exactly(pipe, bytes.Length);
                writing.Wait();
                Console.Out.WriteLine("back " + back.Length + " " + (Encoding.UTF8.GetString(back) == text));
            }
        }
        Console.Out.WriteLine("closed");
    }

    static void Reader(string handle)
    {
        using (var pipe = new AnonymousPipeClientStream(PipeDirection.In, handle))
        using (var reader = new StreamReader(pipe))
        {
            Console.Out.WriteLine("echo: " + reader.ReadToEnd());
        }
    }

    static byte[] Receive(PipeStream pipe, PipeTransmissionMode mode)
    {
        var whole = new MemoryStream();
        var part = new byte[1000];
        do
        {
            int count = pipe.Read(part, 0, part.Length);
            whole.Write(part, 0, count);
        }
        while (mode == PipeTransmissionMode.Message && !pipe.IsMessageComplete);
        return whole.ToArray();
    }

    static byte[] Exactly(PipeStream pipe, int length)
    {
        var bytes = new byte[length];
        for (int have = 0; have < length;)
        {
            int count = pipe.Read(bytes, have, length - have);
            if (count == 0) throw new EndOfStreamException();
            have += count;
        }
        return bytes;
    }
}
