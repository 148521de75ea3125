//! An engine in a directory of its own, in `TMPDIR`: in memory, where `fuzz/run` finds a file system for that.

use headwater_engine::storage::embedded::{EmbeddedLog, EmbeddedMeta};
use headwater_engine::{Clock, Engine, EngineConfig};
use headwater_journal::{Config, Journal};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// When everything happens: UTC ms since 1970, a time after whatever the seeds hold.
pub const NOW_MS: u64 = 1_790_000_000_000;

/// An engine, and what it stands on.
pub struct World {
    /// Runs it.
    pub runtime: Runtime,
    /// The engine.
    pub engine: Engine,
    _dir: TempDir,
}

fn directory() -> TempDir {
    TempDir::with_prefix("headwater-fuzz-").expect("a directory can be made")
}

fn config(dir: &Path) -> EngineConfig {
    let journal = Config {
        segment_bytes: 256 << 10,
        pool_segments: 0,
        size_bytes_max: 64 << 20,
        reserve_bytes: 0,
        ..Config::small()
    };
    EngineConfig { journal, clock: Clock::new(|| NOW_MS), ..EngineConfig::new(dir) }
}

impl World {
    /// An empty engine.
    ///
    /// # Panics
    /// When there is no room for its files.
    #[must_use]
    pub fn new() -> Self {
        let dir = directory();
        let runtime = runtime();
        let (engine, _) = runtime.block_on(async { Engine::open(config(dir.path())).expect("opens") });
        World { runtime, engine, _dir: dir }
    }

    /// An engine that starts on the metadata that `put` puts, and an empty log.
    ///
    /// # Panics
    /// When there is no room for its files.
    pub fn on(put: impl FnOnce(&EmbeddedMeta)) -> Self {
        let dir = directory();
        let runtime = runtime();
        let settings = config(dir.path());
        let engine = runtime.block_on(async {
            let (journal, _) = Journal::open_with(
                dir.path(),
                settings.journal.clone(),
                headwater_journal::Clock::new(|| NOW_MS),
            )
            .expect("opens");
            let log = EmbeddedLog::new(journal);
            let meta = EmbeddedMeta::new(&log);
            put(&meta);
            Engine::on(Arc::new(log), Arc::new(meta), &settings)
        });
        World { runtime, engine, _dir: dir }
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime can be made")
}
