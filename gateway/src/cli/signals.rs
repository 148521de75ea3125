//! SIGTERM and Ctrl-C: the first asks to drain and stop, the second stops at once.

use super::Exit;
use std::future::Future;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a shell shows for a program that a signal ended: 128 and the signal's number.
const STOPPED_AT_ONCE: i32 = 130;

/// Runs `command` on a runtime. What it is given resolves with the first signal; the second ends the program.
pub(super) fn with_signals<F: Future<Output = Exit>>(command: impl FnOnce(Stop) -> F) -> Exit {
    super::open_files::raise();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no runtime");
            return Exit::Unavailable;
        }
    };
    runtime.block_on(async {
        // Before anything is started: a signal that comes early must not be lost, nor kill.
        let (terminate, interrupt) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
        let (Ok(terminate), Ok(interrupt)) = (terminate, interrupt) else {
            tracing::error!("signals cannot be received");
            return Exit::Unavailable;
        };
        let (sender, receiver) = tokio::sync::watch::channel(false);
        tokio::spawn(async move {
            let (mut terminate, mut interrupt) = (terminate, interrupt);
            any(&mut terminate, &mut interrupt).await;
            tracing::info!("stopping; a second signal stops at once");
            sender.send_replace(true);
            any(&mut terminate, &mut interrupt).await;
            tracing::warn!("stopped at once");
            std::process::exit(STOPPED_AT_ONCE);
        });
        command(Stop(receiver)).await
    })
}

async fn any(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Tells when to stop. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Stop(tokio::sync::watch::Receiver<bool>);

impl Stop {
    /// Resolves with the first signal.
    pub(super) async fn wait(mut self) {
        // An error is a sender that is gone, which ends with the program only.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}
