//! The command `semantik`: parses the arguments, starts runtime and logging, dispatches the verb.

use std::process::ExitCode;

mod cli;
mod cmd;
mod composition;
mod extract_worker;
mod local_socket;
mod logging;
mod model_download;
mod progress_bar;
mod rates;
mod remote;
mod render;
mod sample_runner;
mod serve;
mod telemetry;
mod top;

/// Also serves libtorch's tensors (see `docs/adr/0020-allocator.md`).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli::Parsed { cli, notice } = match cli::parse(std::env::args_os()) {
        Ok(parsed) => parsed,
        Err(help_or_error) => {
            let is_error = help_or_error.use_stderr();
            help_or_error.print().ok();
            return ExitCode::from(if is_error { cmd::EX_USAGE } else { 0 });
        }
    };
    if let Some(notice) = notice {
        render::print_error_line(notice);
    }
    if let cli::Verb::ExtractWorker { args } = cli.verb {
        // The worker reads untrusted documents; it needs no runtime, log or model.
        return match stages::extract_worker(args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => cmd::Exit::Failed(error.into()).report(),
        };
    }
    let goes_on = matches!(
        cli.verb,
        cli::Verb::Run(_) | cli::Verb::Reindex(_) | cli::Verb::Serve(_) | cli::Verb::Worker(_)
    );
    let telemetry = telemetry::Telemetry::new();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return cmd::Exit::Failed(error.into()).report(),
    };
    // The OTLP exporter needs a running Tokio runtime.
    let entered = runtime.enter();
    let _logging = match logging::start(cli.log.as_deref(), cli.log_format, goes_on, &telemetry) {
        Ok(logging) => logging,
        Err(error) => return cmd::Exit::Failed(error).report(),
    };
    drop(entered);
    let exit = runtime.block_on(cmd::dispatch(cli.verb, &telemetry));
    #[cfg(feature = "otel")]
    drop(_logging);
    // A thread that still reads a slow disk must not delay the end of the command.
    runtime.shutdown_background();
    exit.report()
}
