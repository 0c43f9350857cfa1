// A Node program on the other side of the pipe, for the interop tests, on the module "net" alone.
//
//   node peer.js named-server PATH [--do=WORK,...] [--rounds=N]
//   node peer.js named-client PATH [--do=WORK,...] [--rounds=N] [--clients=N]
//
// Words and lines are those of ../dotnet/peer.cs: echo, end, push:N, pull:N, swap:N; here also
// "half": ends its writing side, then reads until the end.
'use strict';
const net = require('net');

const block = Buffer.alloc(65521);
for (let i = 0; i < block.length; i++) block[i] = (i * 167 + (i >> 8) * 13) & 255;
const twice = Buffer.concat([block, block]);

const note = (line) => process.stderr.write(line + '\n');

async function push(stream, count) {
  for (let left = count; left > 0;) {
    const chunk = block.subarray(0, Math.min(left, block.length));
    await new Promise((done, failed) => stream.write(chunk, (error) => (error ? failed(error) : done())));
    left -= chunk.length;
  }
  note(`pushed ${count}`);
}

// Takes bytes as they come, so that a stream can be pulled from more than once.
function pull(stream, count) {
  return new Promise((done, failed) => {
    let total = 0;
    const stop = (result, value) => {
      stream.off('readable', take).off('end', ended).off('error', failed);
      result(value);
    };
    const ended = () => stop(failed, new Error(`the stream ended after ${total} of ${count} bytes`));
    const take = () => {
      while (total < count) {
        const got = stream.read(Math.min(count - total, stream.readableLength, block.length) || undefined);
        if (got === null) return;
        const at = total % block.length;
        if (!got.equals(twice.subarray(at, at + got.length))) {
          return stop(failed, new Error(`the bytes from ${total} to ${total + got.length} are wrong`));
        }
        total += got.length;
      }
      note(`pulled ${count}`);
      stop(done);
    };
    stream.on('readable', take).on('end', ended).on('error', failed);
    take();
  });
}

async function copy(stream, answer) {
  let total = 0;
  for await (const got of stream) {
    total += got.length;
    if (answer) await new Promise((done, failed) => stream.write(got, (error) => (error ? failed(error) : done())));
  }
  note(`ended after ${total} bytes`);
}

async function work(stream, works) {
  for (const word of works.split('+')) {
    const [name, number] = word.split(':');
    const count = Number(number || 0);
    if (name === 'echo') await copy(stream, true);
    else if (name === 'end') await copy(stream, false);
    else if (name === 'push') await push(stream, count);
    else if (name === 'pull') await pull(stream, count);
    else if (name === 'swap') await Promise.all([push(stream, count), pull(stream, count)]);
    else if (name === 'half') { stream.end(); await copy(stream, false); }
    else throw new Error(`no such work: ${word}`);
  }
}

function close(stream) {
  return new Promise((done) => stream.destroyed ? done() : stream.once('close', done).end(() => stream.destroy()));
}

async function main() {
  const [role, path] = process.argv.slice(2, 4);
  const options = Object.fromEntries(process.argv.slice(4).map((argument) => argument.slice(2).split('=')));
  const works = (options.do || 'echo').split(',');
  const rounds = Number(options.rounds || works.length);
  const workOf = (round) => works[Math.min(round, works.length - 1)];

  async function client() {
    for (let round = 0; round < rounds; round++) {
      const stream = await new Promise((done, failed) => {
        const stream = net.connect({ path, allowHalfOpen: true }, () => done(stream)).once('error', failed);
      });
      note('connected');
      await work(stream, workOf(round));
      await close(stream);
    }
  }

  function server() {
    return new Promise((done, failed) => {
      let round = 0;
      const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (stream) => {
        const mine = round++;
        note('connected');
        work(stream, workOf(mine)).then(() => close(stream)).then(() => {
          note('disconnected');
          if (mine + 1 === rounds) server.close(done);
        }).catch(failed);
      });
      server.once('error', failed).listen(path, () => note('listening'));
    });
  }

  if (role === 'named-client') await Promise.all(Array.from({ length: Number(options.clients || 1) }, client));
  else await server();
  note('closed');
}

main().catch((error) => {
  note(`error ${error.name}: ${error.message}`);
  process.exit(3);
});
