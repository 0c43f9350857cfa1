//! The client of the C# article's named pair: it shows what the server sends, and answers each line. The C# that a line
//! stands for is above it; see
//! [NamedPipeClientStream](https://learn.microsoft.com/dotnet/api/system.io.pipes.namedpipeclientstream).

use std::error::Error;
use std::io::{BufRead, BufReader, Write};

use dotpipe::{NamedPipeClientStream, PipeDirection, TokenImpersonationLevel};

fn main() -> Result<(), Box<dyn Error>> {
    // using var pipeClient = new NamedPipeClientStream(".", "testpipe", PipeDirection.InOut, PipeOptions.None,
    //                                                  TokenImpersonationLevel.Impersonation);
    let pipe_client = NamedPipeClientStream::builder("testpipe")
        .server_name(".")
        .direction(PipeDirection::InOut)
        .impersonation_level(TokenImpersonationLevel::Impersonation)
        .create()?;

    // pipeClient.Connect();
    println!("Connecting to server...");
    pipe_client.connect()?;
    println!("Server connected.");

    // using var sr = new StreamReader(pipeClient);
    // using var sw = new StreamWriter(pipeClient) { AutoFlush = true };
    let mut writer = &pipe_client;

    // while ((temp = sr.ReadLine()) != null)
    for line in BufReader::new(&pipe_client).lines() {
        let text = line?;
        println!("{text}");

        // sw.WriteLine("Client received: " + temp);
        writeln!(writer, "Client received: {text}")?;
    }
    Ok(())
}
