//! The extract worker, child side: the command `extract-worker`.

use std::ffi::OsString;
use std::io::{self, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::extract::limits::ExtractLimits;
use crate::extract::read::extract_document;
use crate::extract::worker::probe;
use crate::extract::worker::sandbox::{self, Sandbox};
use crate::extract::worker::wire::{self, EXTRACT_BUILD};

/// Runs the process that [`pipeline::Resources::worker_program`] names, with its arguments:
/// extracts the documents on standard input until its end, with answers on standard output.
///
/// `--build` prints [`EXTRACT_BUILD`]; `--probe` attempts everything that a worker must not be able
/// to do, and prints the results as JSON.
///
/// # Errors
/// If an argument is invalid, standard input or output fails, or the process cannot start a thread.
pub fn extract_worker(args: impl IntoIterator<Item = OsString>) -> io::Result<()> {
    let mut limits = ExtractLimits { time: Duration::from_secs(60), memory: 1 << 30 };
    let (mut probes, mut is_probe) = (false, false);
    for arg in args {
        let arg = arg.to_string_lossy();
        let number = |value: &str| value.parse::<u64>().map_err(|_| unknown_argument(&arg));
        match arg.split_once('=') {
            Some(("--max-memory", bytes)) => limits.memory = number(bytes)?,
            Some(("--max-seconds", seconds)) => limits.time = Duration::from_secs(number(seconds)?),
            None if arg == "--build" => return writeln!(io::stdout(), "{EXTRACT_BUILD}"),
            None if arg == "--probe" => probes = true,
            None if arg == "--within" => is_probe = true,
            None if arg == "extract-worker" => {}
            Some(_) | None => return Err(unknown_argument(&arg)),
        }
    }
    let (memory, seconds) = (limits.memory, limits.time.as_secs());
    if probes {
        return start_probe(memory, seconds);
    }
    if is_probe {
        let before = probe::probe_targets();
        return sandbox::run(memory, seconds, false, move |sandbox| {
            probe::probe(&before, &sandbox, memory)
        });
    }
    sandbox::run(memory, seconds, true, move |sandbox| serve(limits, &sandbox))
}

/// Starts the probe like a worker, and forwards its output: a worker cannot write to a file, and
/// standard output may be one.
fn start_probe(memory: u64, seconds: u64) -> io::Result<()> {
    let probe = Command::new(std::env::current_exe()?)
        .args(["extract-worker", "--within"])
        .arg(format!("--max-memory={memory}"))
        .arg(format!("--max-seconds={seconds}"))
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    io::stdout().write_all(&probe.stdout)?;
    if probe.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("the probe failed ({})", probe.status)))
}

fn unknown_argument(arg: &str) -> io::Error {
    let expected = "--max-memory=BYTES, --max-seconds=NUMBER, --probe or --build";
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("invalid argument `{arg}` of extract-worker: expected {expected}"),
    )
}

fn serve(limits: ExtractLimits, sandbox: &Sandbox) -> io::Result<()> {
    // The answer contains the panic message of a parser.
    std::panic::set_hook(Box::new(|_| {}));
    // Parsers that use rayon get a pool of this thread only, since the sandbox permits no other.
    rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .use_current_thread()
        .build_global()
        .map_err(io::Error::other)?;
    let mut input = BufReader::with_capacity(64 << 10, UnbufferedStdio);
    let mut output = UnbufferedStdio;
    let missing = sandbox.missing.join("; ").replace('\n', " ");
    let ready = format!("{} {missing}", wire::READY_PREFIX);
    let end = ready.floor_char_boundary(wire::MAX_LINE - 1);
    output.write_all(format!("{}\n", &ready[..end]).as_bytes())?;
    while let Some(request) = wire::read_request(&mut input)? {
        let answer = extract_document(&request, limits.max_unpacked_bytes());
        drop(request);
        let (mut head, text) = wire::encode_answer(answer).map_err(io::Error::other)?;
        // Each answer is sent before the next document, which may end the process.
        if text.len() < 16 << 10 {
            head.extend_from_slice(text.as_bytes());
            output.write_all(&head)?;
        } else {
            output.write_all(&head)?;
            output.write_all(text.as_bytes())?;
        }
    }
    Ok(())
}

/// Unbuffered standard input and output.
struct UnbufferedStdio;

impl Read for UnbufferedStdio {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(io::stdin(), into)?)
    }
}

impl Write for UnbufferedStdio {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(io::stdout(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
