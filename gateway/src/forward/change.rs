//! Other sinks in the place of those that run.
//!
//! In: sinks as a configuration says them. Out: those that are as they were run on, untouched; those that changed settle, store how far
//! they came and start again; those that are gone settle too, and hold nothing any more.
//!
//! Invariants: nothing is stopped before everything that shall run can run; one sink never runs twice at a time; a record that a
//! required sink needs is held from the old settings to the new. What a target took beyond a cursor is sent again, as after a restart.
//! Cursors of a sink that is gone are kept: one of its name goes on where it was, and counts what expired meanwhile.

use super::limits;
use super::settings::SinkSettings;
use super::sink::{Forwarders, Ready, Running, SinkError, expect, letters_name, ready};
use headwater_engine::StreamName;
use std::collections::BTreeSet;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Sinks that can take the place of those that run; checked.
#[derive(Debug)]
pub(crate) struct NextSinks {
    /// Every sink there shall be.
    all: Vec<SinkSettings>,
    /// Those of them that do not run like that yet.
    ready: Vec<Ready>,
    letters: StreamName,
}

impl Forwarders {
    /// Checks `sinks`, and sets up those that do not run so already. Asks no target, stops nothing.
    pub(crate) async fn prepare(
        &self,
        sinks: &[SinkSettings],
        dead_letter: &str,
    ) -> Result<NextSinks, SinkError> {
        let as_now: BTreeSet<String> = {
            let running = self.lock();
            let runs = |sink: &&SinkSettings| running.iter().any(|running| *running.settings == **sink);
            sinks.iter().filter(runs).map(|sink| sink.name.clone()).collect()
        };
        let others = sinks.iter().filter(|sink| !as_now.contains(&sink.name));
        let ready = ready(&self.surroundings, &self.engine, others).await?;
        Ok(NextSinks { all: sinks.to_vec(), ready, letters: letters_name(dead_letter)? })
    }

    /// Puts `next` in the place of what runs. Takes as long as calls on their way take to settle, seconds at most.
    pub(crate) async fn change(&self, next: NextSinks) {
        let NextSinks { all, ready, letters } = next;
        self.letters.rename(letters);
        let stays = |running: &Running| all.iter().any(|sink| *sink == *running.settings);
        let ended: Vec<Running> = {
            let mut running = self.lock();
            let (stay, end) = running.drain(..).partition(stays);
            *running = stay;
            end
        };
        let names: Vec<String> = ended.iter().map(|sink| sink.settings.name.clone()).collect();
        let mut stopping: JoinSet<()> = ended.into_iter().map(Running::stop).collect();
        while stopping.join_next().await.is_some() {}
        // What they staged is durable before somebody reads it as where to begin. A disk that hangs has its own alarm.
        if timeout(limits::SETTLE_WITHIN, self.engine.barrier()).await.is_err() {
            tracing::warn!(
                "sinks go on from what is durable of where they came to: a commit waits for the disk"
            );
        }
        for name in &names {
            let next = all.iter().find(|sink| sink.name == *name);
            self.holds.keep_only(name, |stream| {
                next.is_some_and(|sink| sink.required && sink.carries(stream.name().as_str()))
            });
            self.shown.forget(name);
            if next.is_none() {
                tracing::info!(sink = name, "sink is gone; where it came to is kept for one of its name");
            }
        }
        expect(&self.engine, ready.iter().map(|ready| &*ready.settings), &self.holds);
        ready.into_iter().for_each(|ready| self.run(ready));
    }
}
