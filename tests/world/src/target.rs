//! The target: an engine with its own disk behind the [`Way`].

use crate::station::{Station, Work};
use crate::way::Way;
use headwater_engine::StreamName;

pub(crate) struct Target {
    pub(crate) station: Station,
    pub(crate) way: Way,
    /// The streams it has, with the shards they are made with.
    streams: Vec<(String, u32)>,
}

impl Target {
    pub(crate) fn new(station: Station, way: Way, streams: Vec<(String, u32)>) -> Self {
        Self { station, way, streams }
    }

    /// Switches it on. Gives why it stays off.
    pub(crate) fn boot(&mut self) -> Result<(), String> {
        self.station.boot().map_err(|error| error.to_string())?;
        let ids = self.station.chance.draw();
        if let (Some(engine), Some(host)) = (self.station.engine(), self.station.host()) {
            let _inside = host.handle().enter();
            self.way.lead_to(Some((host.handle().clone(), engine.connections(ids))));
            let (engine, streams) = (engine.clone(), self.streams.clone());
            host.handle().spawn(async move {
                for (name, shards) in streams {
                    let Ok(name) = StreamName::parse(&name) else { continue };
                    // Where it fails the machine has, or the sink makes the stream.
                    let _ = engine.ensure_stream(&name, shards).await;
                }
            });
        }
        Ok(())
    }

    pub(crate) fn end(&mut self, is_cut: bool) {
        self.way.lead_to(None);
        self.station.end(is_cut);
    }

    /// Lets it run for a tick. False when its disk has failed.
    pub(crate) fn tick(&mut self, ms: u64) -> bool {
        self.station.tick(ms);
        self.station.work() != Work::Failed
    }
}
