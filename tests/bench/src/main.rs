//! Figures of any Kubernetes API server: latency, throughput, memory, and server CPU per request.
//!
//! Each figure is one line of JSON on standard output; what people want to know besides goes to standard error. The
//! client is part of the measurement (server CPU is compared with client CPU of the same run), so it stays lean: one
//! HTTP/1.1 connection a client, many watches on one HTTP/2 connection, no tree is built of what the server sends.
//!
//! In reading order: [`options`] the command line; [`kubeconfig`] where the server is and who asks; [`connection`] HTTP
//! over TLS; [`process`] CPU and memory of processes; [`figure`] what is printed; [`objects`] what is written, [`protobuf`] also in that form;
//! [`requests`], [`lists`], [`watches`], [`start`] the figures; [`run`] their order, set-up and cleaning.

mod connection;
mod figure;
mod kubeconfig;
mod lists;
mod objects;
mod options;
mod process;
mod protobuf;
mod requests;
mod run;
mod start;
#[cfg(test)]
mod test_server;
mod watches;

use std::process::ExitCode;

use clap::Parser as _;

/// Whatever went wrong, in words.
type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let options = options::Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime.map_err(Error::from).and_then(|runtime| runtime.block_on(run::run(&options)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("triune-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
