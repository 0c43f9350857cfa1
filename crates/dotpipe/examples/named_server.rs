//! The server of the C# article's named pair: it asks for a text, sends it, and shows what the client answers. The C# that
//! a line stands for is above it; see
//! [NamedPipeServerStream](https://learn.microsoft.com/dotnet/api/system.io.pipes.namedpipeserverstream).
//!
//! ```sh
//! cargo run --example named_server     # and in another terminal:
//! cargo run --example named_client     # or the C# client
//! ```

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};

use dotpipe::{NamedPipeServerStream, PipeDirection};

fn main() -> Result<(), Box<dyn Error>> {
    // using var pipeServer = new NamedPipeServerStream("testpipe", PipeDirection.InOut);
    let pipe_server = NamedPipeServerStream::builder("testpipe")
        .direction(PipeDirection::InOut)
        .create()?;

    // pipeServer.WaitForConnection();
    println!("Waiting for client connection...");
    pipe_server.wait_for_connection()?;

    // Console.WriteLine("Client connected. " + pipeServer.GetImpersonationUserName());
    println!("Client connected. {}", pipe_server.get_impersonation_user_name()?);

    // try { ... } catch (IOException e) { Console.WriteLine("ERROR: {0}", e.Message); }
    if let Err(error) = talk(&pipe_server) {
        println!("ERROR: {error}");
    }
    println!("Client disconnected.");
    Ok(())
}

fn talk(pipe_server: &NamedPipeServerStream) -> io::Result<()> {
    // using var sr = new StreamReader(pipeServer);
    // using var sw = new StreamWriter(pipeServer) { AutoFlush = true };
    let mut reader = BufReader::new(pipe_server).lines();
    let mut writer = pipe_server;

    loop {
        // Console.Write("Enter text: ");
        print!("Enter text: ");
        io::stdout().flush()?;

        // string text = Console.ReadLine();
        // if (string.IsNullOrEmpty(text)) return;
        let mut text = String::new();
        io::stdin().read_line(&mut text)?;
        let text = text.trim_end();
        if text.is_empty() {
            return Ok(());
        }

        // sw.WriteLine(text);
        writeln!(writer, "{text}")?;

        // string response = sr.ReadLine();
        // if (response == null) return;
        let Some(response) = reader.next().transpose()? else {
            return Ok(());
        };
        println!("Response: {response}");
    }
}
