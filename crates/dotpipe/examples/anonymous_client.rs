//! The child of the C# article's anonymous pair, a program with an
//! [AnonymousPipeClientStream](https://learn.microsoft.com/dotnet/api/system.io.pipes.anonymouspipeclientstream); the C#
//! that a line stands for is above it. `anonymous_server` starts it.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};

use dotpipe::{AnonymousPipeClientStream, PipeDirection};

fn main() -> Result<(), Box<dyn Error>> {
    // if (args.Length > 0)
    if let Some(handle) = std::env::args().nth(1) {
        // using (PipeStream pipeClient = new AnonymousPipeClientStream(PipeDirection.In, args[0]))
        let pipe_client = AnonymousPipeClientStream::from_handle_string(PipeDirection::In, &handle)?;

        // Console.WriteLine("[CLIENT] Current TransmissionMode: {0}.", pipeClient.TransmissionMode);
        println!(
            "[CLIENT] Current TransmissionMode: {:?}.",
            pipe_client.transmission_mode()?
        );

        // using (StreamReader sr = new StreamReader(pipeClient))
        let mut lines = BufReader::new(pipe_client).lines();

        // do { Console.WriteLine("[CLIENT] Wait for sync..."); temp = sr.ReadLine(); } while (!temp.StartsWith("SYNC"));
        loop {
            println!("[CLIENT] Wait for sync...");
            if lines
                .next()
                .ok_or("The server has ended before SYNC.")??
                .starts_with("SYNC")
            {
                break;
            }
        }

        // while ((temp = sr.ReadLine()) != null) { Console.WriteLine("[CLIENT] Echo: " + temp); }
        for line in lines {
            println!("[CLIENT] Echo: {}", line?);
        }
    }

    // Console.Write("[CLIENT] Press Enter to continue...");
    print!("[CLIENT] Press Enter to continue...");
    io::stdout().flush()?;

    // Console.ReadLine();
    io::stdin().read_line(&mut String::new())?;
    Ok(())
}
