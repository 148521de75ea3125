//! To another machine: a link between two network namespaces that is really cut, so that nobody is told.

use std::time::{Duration, Instant};

use system_tests::chance::Chance;
use system_tests::gateway::Gateway;
use system_tests::netns::{FAR, Link, in_own_world};
use system_tests::target::read_once;
use system_tests::{number_from_env, python, wait_until};

use crate::check::assert_forwarded;
use crate::load::Load;
use crate::world::sink;

/// The sink's timeout: what a connection that hangs half open may cost.
const TIMEOUT: Duration = Duration::from_secs(2);

/// On top of it: the pause after a failure, at most half a second, a look at `/health`, and a loaded machine.
const SLACK: Duration = Duration::from_secs(6);

/// The whole test, its world included.
const PATIENCE: Duration = Duration::from_secs(150);

/// How long devices sample; the rest is the drain.
const SECONDS: u64 = 26;

/// What happens to the link, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    /// Packets vanish.
    BlackHole,
    /// The other machine's cable is out.
    FarDown,
    /// This machine's cable is out.
    NearDown,
    /// This machine gets another address.
    NearMoves,
    /// The other machine gets another address, and its name says so.
    FarMoves,
    /// The other machine's process is killed while packets vanish: its connections end without a word.
    FarKilled,
    /// This machine's process is killed while packets vanish; it starts while they still do.
    NearKilled,
    /// One packet of four is lost.
    Lossy,
    /// Packets take their time.
    Slow,
}

const ALL: [Harm; 9] = [
    Harm::BlackHole,
    Harm::Lossy,
    Harm::FarDown,
    Harm::NearMoves,
    Harm::NearKilled,
    Harm::FarMoves,
    Harm::Slow,
    Harm::NearDown,
    Harm::FarKilled,
];

struct World {
    link: Link,
    near: Gateway,
    far: Gateway,
}

#[test]
fn connections_that_hang_half_open_are_noticed_and_nothing_is_lost_over_a_link_that_is_really_cut() {
    if python::interpreter().is_none() {
        return python::skip("forward over namespaces", "no Python with boto3; `tests/run` sets one up");
    }
    let name = "network::connections_that_hang_half_open_are_noticed_and_nothing_is_lost_over_a_link_that_is_really_cut";
    in_own_world(name, PATIENCE, || {
        let directory = tempfile::tempdir().unwrap();
        let [here, there] = ["here", "there"].map(|name| directory.path().join(name));
        [&here, &there].into_iter().for_each(|at| std::fs::create_dir(at).unwrap());
        let link = Link::new(directory.path());
        let far = Gateway::start_far(&there, &link, "[streams.telemetry]\nshards = 3\n");
        let config = format!(
            "[streams.telemetry]\nshards = 2\n\n[sinks.far]\nendpoint = \"http://{FAR}:{}\"\nregion = \"us-east-1\"\n\
             credentials = \"unchecked\"\ntimeout = \"2s\"\nretry = {{ base = \"20ms\", max = \"500ms\" }}\n",
            far.kinesis.port()
        );
        let near = Gateway::start(&here, &config);
        World { link, near, far }.live(&here);
    });
}

impl World {
    fn live(mut self, directory: &std::path::Path) {
        let seed = number_from_env("HEADWATER_SEED", 81);
        let mut chance = Chance::new(seed);
        let load = Load::start(&self.near, directory, seed, SECONDS, 2);
        let started = Instant::now();
        assert!(wait_until(SLACK, || self.delivered() > 0), "nothing is delivered\n{}", self.near.tail());
        for harm in ALL {
            std::thread::sleep(chance.millis(100, 600));
            let was = Instant::now();
            let said = self.harm(harm);
            println!("{harm:?}: {said}, {:.1} s in all", was.elapsed().as_secs_f32());
        }
        println!("harm was done for {:.1} s", started.elapsed().as_secs_f32());
        let acked = load.finish();
        let far = self.far.kinesis;
        assert_forwarded(&mut self.near, acked, || read_once(far, "telemetry", directory));
        self.far.stop();
    }

    /// Does it, waits until it is noticed where it must be, undoes it, and waits until records arrive again.
    fn harm(&mut self, harm: Harm) -> String {
        let noticed = match harm {
            Harm::BlackHole | Harm::FarKilled | Harm::NearKilled => {
                self.link.lose(100);
                let noticed = self.noticed();
                match harm {
                    Harm::FarKilled => self.far.kill(),
                    Harm::NearKilled => {
                        self.near.kill();
                        self.near.restart();
                    }
                    _ => {}
                }
                self.link.lose(0);
                if harm == Harm::FarKilled {
                    self.far.restart();
                }
                noticed
            }
            Harm::FarDown => {
                self.link.set_far_up(false);
                let noticed = self.noticed();
                self.link.set_far_up(true);
                noticed
            }
            Harm::NearDown => {
                self.link.set_near_up(false);
                let noticed = self.noticed();
                self.link.set_near_up(true);
                noticed
            }
            // What was on its way hangs, and the next connection is from or to where they are now: it need not come to trouble.
            Harm::NearMoves => {
                self.link.readdress_near();
                "by itself".to_owned()
            }
            Harm::FarMoves => {
                self.link.readdress_far();
                self.far.moved_to(self.link.far_address());
                "by itself".to_owned()
            }
            Harm::Lossy => {
                self.link.lose(25);
                std::thread::sleep(Duration::from_secs(2));
                self.link.lose(0);
                "one packet of four".to_owned()
            }
            Harm::Slow => {
                let how = self.link.set_slow(true);
                std::thread::sleep(Duration::from_secs(2));
                self.link.set_slow(false);
                how.to_owned()
            }
        };
        let back = Instant::now();
        let before = self.delivered();
        let limit = TIMEOUT + SLACK;
        let again = wait_until(limit, || self.delivered() > before);
        assert!(
            again,
            "{harm:?}: nothing arrived {limit:?} after the way was back: {:#?}\n{}",
            sink(&self.near),
            self.near.tail()
        );
        format!("{noticed}, back after {} ms", back.elapsed().as_millis())
    }

    /// Waits until the sink says that its target cannot be reached.
    fn noticed(&self) -> String {
        let cut = Instant::now();
        let limit = TIMEOUT + SLACK;
        let noticed = wait_until(limit, || sink(&self.near).is_some_and(|sink| sink["connected"] == false));
        assert!(noticed, "not noticed in {limit:?}: {:#?}\n{}", sink(&self.near), self.near.tail());
        format!("noticed after {} ms", cut.elapsed().as_millis())
    }

    fn delivered(&self) -> u64 {
        sink(&self.near).and_then(|sink| sink["delivered"].as_u64()).unwrap_or(0)
    }
}
