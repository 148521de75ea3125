//! Devices that are listed, blink, restart and change their periods.

use super::bench::{Kind, chip};
use super::{agent, desk, on, plug};
use headwater_device::Reach;
use headwater_telemetry::{Down, Order};
use std::time::{Duration, Instant};

#[test]
fn devices_says_who_is_at_which_port_and_which_ports_are_in_use_or_silent() {
    let (dir, _chip, board) = desk(Kind::default());
    let taken = plug(&dir.path().join("taken"), &chip(), Kind::default());
    let holder = std::fs::File::open(&taken.port).unwrap();
    rustix::fs::flock(&holder, rustix::fs::FlockOperation::LockExclusive).unwrap();
    // A terminal whose other end is ours and says nothing.
    let silent = super::bench::Silent::plug_in(&dir.path().join("silent"));
    let missing = dir.path().join("missing");
    let ports = ["--port", on(&board), "--port", on(&taken), "--port", silent.path(), "--port"];
    let arguments = [&["devices"], &ports[..], &[missing.to_str().unwrap()]].concat();
    let said = agent(&arguments, "");
    assert_eq!(said.code, Some(0), "{said:?}");
    let line_after = |port: &str| {
        let mut lines = said.out.lines().skip_while(|line| *line != port);
        lines.nth(1).unwrap_or_else(|| panic!("{port} is not in {}", said.out)).to_owned()
    };
    assert_eq!(
        line_after(on(&board)),
        "  fresh-1: bench 1.0, boot 1, started by power, channels air °C, lamp"
    );
    assert_eq!(line_after(on(&taken)), "  in use by another program, the agent most likely");
    assert!(line_after(silent.path()).starts_with("  no Headwater device answers within 15 s"), "{said:?}");
    assert_eq!(line_after(missing.to_str().unwrap()), "  No such file or directory (os error 2)");
    assert!(taken.record().downs.is_empty(), "who is in use is left alone");

    let said = agent(&["devices", "--json", "--port", on(&board), "--port", on(&taken)], "");
    let lines: Vec<serde_json::Value> =
        said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |port: &str| lines.iter().find(|line| line["port"] == port).unwrap();
    assert_eq!(of(on(&board))["device"], "fresh-1");
    assert_eq!(of(on(&board))["channels"][0], serde_json::json!({"name": "air", "unit": "°C"}));
    assert!(of(on(&taken))["error"].as_str().unwrap().contains("in use"));
}

#[test]
fn a_device_that_has_nothing_to_say_is_asked_who_it_is() {
    // Nothing is read for an hour: whoever answered its greeting hears nothing more.
    let (_dir, _chip, board) = desk(Kind { period_ms: 3_600_000, ..Kind::default() });
    let said = agent(&["identify", "--port", on(&board)], "");
    assert_eq!(said.out, "fresh-1 blinks\n", "{said:?}");
    // Takes the batch of the start, so that the link is idle from now on.
    let mut monitor = super::watching::Monitor::start(&["--take", "--port", on(&board)]);
    monitor.until("boot 1 seq 1");
    board.until("the device was told", |record| record.delivered == 1);
    drop(monitor);
    board.record().downs.clear();
    let before = Instant::now();
    let said = agent(&["devices", "--port", on(&board)], "");
    assert!(said.out.contains("fresh-1: bench 1.0"), "{said:?}");
    assert!(before.elapsed() >= Duration::from_secs(5), "it did not say it by itself");
    assert_eq!(board.record().downs, [Down::Identify]);
}

#[test]
fn identify_makes_it_blink_once_although_the_results_are_lost() {
    let (_dir, _chip, board) = desk(Kind::default());
    board.record().lose_results = 2;
    let said = agent(&["identify", "--port", on(&board)], "");
    assert_eq!((said.code, said.out.as_str()), (Some(0), "fresh-1 blinks\n"), "{said:?}");
    assert_eq!(board.commands(), 3, "it was sent until a result came");
    let record = board.record();
    let asked = record.downs.iter().filter(|down| **down == Down::Identify).count();
    assert_eq!(record.blinks as usize, asked + 1, "beside being asked who it is");
}

#[test]
fn a_restart_is_done_once_although_its_result_is_lost_and_the_port_goes_away_with_it() {
    for is_usb in [false, true] {
        let (_dir, _chip, board) = desk(Kind { is_usb, ..Kind::default() });
        let said = agent(&["command", "reboot", "--port", on(&board)], "");
        assert_eq!(said.code, Some(0), "{said:?}");
        assert_eq!(
            said.out,
            "restarted\nfresh-1: bench 1.0, boot 2, started by request, channels air °C, lamp\n"
        );
        assert_eq!(board.record().starts, 2);
    }
    let (_dir, _chip, board) = desk(Kind::default());
    board.record().lose_results = 1;
    let said = agent(&["command", "reboot", "--port", on(&board)], "");
    assert_eq!(said.code, Some(0), "{said:?}");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!((board.commands(), board.record().starts), (2, 2), "sent twice, done once");
}

#[test]
fn a_period_is_ordered_by_the_name_of_its_channel() {
    let (_dir, _chip, board) = desk(Kind { reach: Reach::Stream, ..Kind::default() });
    let period = |rest: &[&str]| agent(&[&["command", "period", "--port", on(&board)], rest].concat(), "");
    let said = period(&["250ms", "--channel", "lamp"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "fresh-1 reads lamp every 250 ms\n"), "{said:?}");
    let said = period(&["2s"]);
    assert_eq!(
        (said.code, said.out.as_str()),
        (Some(0), "fresh-1 reads everything every 2000 ms\n"),
        "{said:?}"
    );
    let orders = |board: &super::Board| -> Vec<Order> {
        let record = board.record();
        let commands = record.downs.iter().filter_map(|down| match down {
            Down::Command(command) => Some(command.order.clone()),
            _ => None,
        });
        commands.collect()
    };
    let lamp = Some(headwater_telemetry::ChannelId(1));
    let expected =
        [Order::Period { channel: lamp, period_ms: 250 }, Order::Period { channel: None, period_ms: 2_000 }];
    assert_eq!(orders(&board), expected);

    let said = period(&["2s", "--channel", "cellar"]);
    assert_eq!(said.code, Some(64));
    assert!(said.err.contains("fresh-1 has no channel \"cellar\", expected one of air, lamp"), "{said:?}");
    let said = period(&["5"]);
    assert_eq!(said.code, Some(64));
    assert!(said.err.contains("expected a number with its unit: 500ms, 10s, 5m, 1h"), "{said:?}");
    assert_eq!(orders(&board), expected, "neither was sent");
    let said = period(&["5ms"]);
    assert_eq!(said.code, Some(69));
    assert!(said.err.contains("device fresh-1 refuses: this period, expected 10 ms to a day"), "{said:?}");
}
