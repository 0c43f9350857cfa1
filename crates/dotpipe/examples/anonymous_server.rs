//! The parent of the C# article's anonymous pair, a program with an
//! [AnonymousPipeServerStream](https://learn.microsoft.com/dotnet/api/system.io.pipes.anonymouspipeserverstream); the C#
//! that a line stands for is above it.
//!
//! ```sh
//! cargo build --examples
//! cargo run --example anonymous_server
//! ```

use std::error::Error;
use std::io::{self, Write};
use std::process::Command;

use dotpipe::{AnonymousPipeServerStream, CommandExt, PipeDirection};

fn main() -> Result<(), Box<dyn Error>> {
    // pipeClient.StartInfo.FileName = "pipeClient.exe";
    let mut pipe_client = Command::new(std::env::current_exe()?.with_file_name("anonymous_client"));

    // using (var pipeServer = new AnonymousPipeServerStream(PipeDirection.Out, HandleInheritability.Inheritable))
    let pipe_server = AnonymousPipeServerStream::new(PipeDirection::Out)?;

    // Console.WriteLine("[SERVER] Current TransmissionMode: {0}.", pipeServer.TransmissionMode);
    println!(
        "[SERVER] Current TransmissionMode: {:?}.",
        pipe_server.transmission_mode()?
    );

    // pipeClient.StartInfo.Arguments = pipeServer.GetClientHandleAsString();
    pipe_client.arg(pipe_server.get_client_handle_as_string());
    // Where C# says Inheritable, every child gets the handle; here this one does, and no other.
    pipe_client.inherit_client_handle(&pipe_server);

    // pipeClient.Start();
    let mut pipe_client = pipe_client.spawn()?;

    // pipeServer.DisposeLocalCopyOfClientHandle();
    pipe_server.dispose_local_copy_of_client_handle();

    // try { ... } catch (IOException e) { Console.WriteLine("[SERVER] Error: {0}", e.Message); }
    if let Err(error) = talk(pipe_server) {
        println!("[SERVER] Error: {error}");
    }

    // pipeClient.WaitForExit();
    pipe_client.wait()?;
    println!("[SERVER] Client quit. Server terminating.");
    Ok(())
}

fn talk(mut pipe_server: AnonymousPipeServerStream) -> io::Result<()> {
    // sw.WriteLine("SYNC");
    writeln!(pipe_server, "SYNC")?;

    // pipeServer.WaitForPipeDrain();
    pipe_server.wait_for_pipe_drain()?;

    // Console.Write("[SERVER] Enter text: ");
    print!("[SERVER] Enter text: ");
    io::stdout().flush()?;

    // sw.WriteLine(Console.ReadLine());
    let mut text = String::new();
    io::stdin().read_line(&mut text)?;
    writeln!(pipe_server, "{}", text.trim_end())
    // The end of the function is the end of the `using` block: the pipe is closed.
}
