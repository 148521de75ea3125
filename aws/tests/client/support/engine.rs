//! Our own engine, in process.

use headwater_engine::{Engine, EngineConfig, LimitProfile};
use std::net::SocketAddr;
use tokio::net::TcpListener;

pub(crate) struct EngineServer {
    pub(crate) address: SocketAddr,
    pub(crate) engine: Engine,
    _dir: tempfile::TempDir,
}

impl EngineServer {
    pub(crate) async fn start(limits: LimitProfile) -> EngineServer {
        let dir = tempfile::tempdir().unwrap();
        let journal = headwater_journal::Config {
            segment_bytes: 16 << 20,
            pool_segments: 1,
            size_bytes_max: 256 << 20,
            reserve_bytes: 0,
            ..headwater_journal::Config::small()
        };
        let config = EngineConfig { journal, limits, ..EngineConfig::new(dir.path()) };
        let (engine, _) = Engine::open(config).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = engine.clone();
        tokio::spawn(async move { serving.http(listener, std::future::pending()).await });
        EngineServer { address, engine, _dir: dir }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}
