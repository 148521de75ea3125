//! The spool against power cuts at any byte, on flash with ECC, for every word and page size.
//!
//! The model is the whole line of every boot: each place is stored, perhaps stored (its push was cut), or was never
//! pushed. A receiver takes what comes, drops repeats as a real one does, and checks: content, order, no hole inside
//! a boot, gaps counted exactly, repeats only just before what is new, the time of what is dated, also of what was stored
//! before its boot learned the time. Beside it a configuration is stored now and then: the old or the new one is there.

#![expect(clippy::unwrap_used, reason = "a panic is the report")]
#![expect(clippy::print_stdout, reason = "the figures of a run, for whoever asks with --nocapture")]

mod receiver;

use headwater_device::testing::{FlashFault, FlashModel, Rng, SharedFlash};
use headwater_device::{Cursor, FlashError, Layout, OpenError, Spool};
use headwater_telemetry::limits::BODY_BYTES_MAX;
use headwater_telemetry::{
    BatchBuilder, BootId, ChannelId, Config, DeviceId, Schema, Seq, TimeQuality, Uptime,
};
use receiver::{Model, Receiver, mark, value};
use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// The model never waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("flash in memory never waits"),
    }
}

fn config(period_ms: u32) -> Config {
    let device = DeviceId::parse("torture").unwrap();
    Config { device, network: None, uplink: None, period_ms, batch_age_ms: 0 }
}

#[derive(Default, Debug)]
struct Tally {
    starts: u32,
    cuts: u32,
    repeats: u64,
    gaps: u32,
    merged: u32,
    readings: u64,
    lost: u64,
    /// Batches stored without their time that came with it, in the life that learned it and in later ones.
    dated: u32,
    dated_later: u32,
    /// Batches of a boot that learned the time and came without: the mark was lost or made room.
    undated: u32,
}

struct Setup {
    seed: u64,
    starts: u32,
    pages: usize,
    /// One in so many steps takes something out; 0 is never.
    drain: u64,
    /// The planted bug: delivered before the receiver has it.
    bug: bool,
}

fn soak<const PAGE: usize, const WORD: usize>(setup: &Setup) -> Tally {
    let mut rng = Rng::new(setup.seed);
    let chip = Rc::new(RefCell::new(FlashModel::<PAGE, WORD>::erased(setup.pages + 2, setup.seed)));
    let page = u32::try_from(PAGE).unwrap();
    let layout =
        Layout::without_vault(0..2 * page, 2 * page..(2 + u32::try_from(setup.pages).unwrap()) * page);
    let mut model = Model::default();
    let mut receiver = Receiver::default();
    let mut tally = Tally::default();
    let mut last_boot = 0;
    for start in 0..=setup.starts {
        chip.borrow_mut().power_up();
        let last = start == setup.starts;
        if !last && !rng.chance(5) {
            let range = if rng.chance(4) { 3 * PAGE as u64 } else { 900 };
            chip.borrow_mut().cut_after(rng.below(range));
        }
        tally.starts += 1;
        model.repeats_allowed = true;
        let opened = now(Spool::open(SharedFlash(chip.clone()), layout.clone()));
        let (mut spool, boot) = match opened {
            Ok((spool, boot, found)) => {
                assert!(!found.ring_formatted && !found.area_formatted, "a cut is not a foreign region");
                (spool, boot)
            }
            Err(OpenError::Driver(FlashFault::PowerCut)) => {
                tally.cuts += 1;
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        assert!(boot.0 > last_boot, "boot counter went from {last_boot} to {boot}");
        last_boot = boot.0;
        model.dated = None;
        let Ok(stored) = now(spool.config()) else { continue };
        let stored = stored.map_or(0, |config| config.period_ms);
        assert!(
            model.configs.is_empty() || model.configs.contains(&stored),
            "{stored}, not {:?}",
            model.configs
        );
        model.configs = vec![stored];
        let steps = if last { 0 } else { rng.below(120) };
        let life = run(&mut spool, boot, steps, &mut rng, setup, &mut model, &mut receiver);
        (model.merged, model.merging) = (model.merged + spool.lost().merged, 0);
        tally.cuts += u32::from(life.is_err());
        tally.gaps += life.unwrap_or(0);
    }
    // The power stays on: everything that is left must come out.
    let (mut spool, _, _) = now(Spool::open(SharedFlash(chip.clone()), layout)).unwrap();
    (model.repeats_allowed, model.dated) = (true, None);
    let mut body = [0u8; BODY_BYTES_MAX];
    while let Some(item) = now(spool.next(spool.read(), Schema(0), &mut body)).unwrap() {
        receiver.take(&mut model, &item, &body[..item.len]);
        now(spool.delivered(item.after)).unwrap();
    }
    receiver.check(&model);
    for known in receiver.boots.values() {
        tally.readings += u64::from(known.readings);
        tally.lost += u64::from(known.lost);
    }
    (tally.repeats, tally.merged) = (receiver.repeats, model.merged);
    (tally.dated, tally.dated_later, tally.undated) =
        (receiver.dated, receiver.dated_later, receiver.undated);
    tally
}

/// One life; Err when the power went.
fn run<const PAGE: usize, const WORD: usize>(
    spool: &mut Spool<SharedFlash<PAGE, WORD>>,
    boot: BootId,
    steps: u64,
    rng: &mut Rng,
    setup: &Setup,
    model: &mut Model,
    receiver: &mut Receiver,
) -> Result<u32, ()> {
    let (mut next, mut gaps) = (0u32, 0);
    let mut body = [0u8; BODY_BYTES_MAX];
    let mut cursor: Cursor = spool.read();
    for _ in 0..steps {
        if rng.chance(40) {
            learn(spool, (boot, next), rng, model)?;
        }
        if rng.chance(60) {
            let next = last_config(model) + 1;
            model.configs.push(next);
            if now(spool.store_config(&config(next))).is_ok() {
                model.configs = vec![next];
            }
        }
        if setup.drain == 0 || !rng.chance(setup.drain) {
            let at = |seq: u32| Uptime(u64::from(seq) * 10);
            let mut builder = BatchBuilder::new(boot, Seq(next), Schema(7), at(next));
            for seq in next..=next + u32::try_from(rng.below(24)).unwrap() {
                if builder.reading(at(seq), ChannelId(0), value(boot.0, seq)).is_err() {
                    break;
                }
            }
            let known = model.learned.get(&boot.0);
            let utc = known.map(|&(quality, _)| mark(boot, quality).utc(at(next)));
            let batch = builder.finish(utc);
            let after = batch.through().unwrap().0 + 1;
            let known = model.boots.entry(boot.0).or_default();
            let mut pushed = now(spool.push(&batch));
            if pushed == Err(FlashError::Driver(FlashFault::Refused)) {
                pushed = now(spool.push(&batch)); // a doubtful word; the next page takes it
            }
            if pushed.is_err() {
                known.1 = after - next;
                return Err(());
            }
            next = after;
            known.0 = next;
        } else if let Some(item) = now(spool.next(cursor, Schema(0), &mut body)).map_err(drop)? {
            cursor = item.after;
            gaps += u32::from(item.gap);
            if setup.bug && rng.chance(20) {
                now(spool.delivered(item.after)).map_err(drop)?;
                now(spool.save()).map_err(drop)?;
                continue; // the receiver never saw it
            }
            model.merging = spool.lost().merged;
            receiver.take(model, &item, &body[..item.len]);
            if rng.chance(50) {
                cursor = spool.read(); // the ack was lost: sent again from what is delivered
                model.repeats_allowed = true;
                continue;
            }
            now(spool.delivered(item.after)).map_err(drop)?;
            if rng.chance(30) {
                now(spool.save()).map_err(drop)?;
            }
        }
    }
    Ok(gaps)
}

fn last_config(model: &Model) -> u32 {
    model.configs.iter().copied().max().unwrap_or(0)
}

/// The time comes: a guess, or a good one, perhaps after a guess.
fn learn<const PAGE: usize, const WORD: usize>(
    spool: &mut Spool<SharedFlash<PAGE, WORD>>,
    (boot, next): (BootId, u32),
    rng: &mut Rng,
    model: &mut Model,
) -> Result<(), ()> {
    let (quality, first) = match model.learned.get(&boot.0) {
        None if rng.chance(2) => (TimeQuality::Estimated, next),
        None => (TimeQuality::Synced, next),
        Some(&(_, first)) => (TimeQuality::Synced, first),
    };
    model.learned.insert(boot.0, (quality, first));
    model.dated = Some(boot);
    match now(spool.learned_time(mark(boot, quality))) {
        Ok(()) | Err(FlashFault::Refused) => Ok(()),
        Err(_) => Err(()),
    }
}

fn torture<const PAGE: usize, const WORD: usize>(name: &str, pages: usize, drain: u64, seeds: u64) -> Tally {
    let mut sum = Tally::default();
    for seed in 0..seeds {
        let setup = Setup { seed: seed * 7_919 + WORD as u64, starts: 120, pages, drain, bug: false };
        let tally = soak::<PAGE, WORD>(&setup);
        sum.starts += tally.starts;
        sum.cuts += tally.cuts;
        sum.repeats += tally.repeats;
        sum.gaps += tally.gaps;
        sum.readings += tally.readings;
        sum.merged += tally.merged;
        sum.lost += tally.lost;
        sum.dated += tally.dated;
        sum.dated_later += tally.dated_later;
        sum.undated += tally.undated;
    }
    println!("{name}: {sum:?}");
    assert!(sum.cuts > sum.starts / 4, "the cuts no longer happen");
    assert!(sum.dated > 100 && sum.dated_later > 100, "nothing is dated later");
    sum
}

#[test]
fn nothing_is_lost_uncounted_with_small_pages_and_wide_words() {
    assert!(torture::<1024, 32>("1K/32", 6, 3, 16).gaps > 0);
}

#[test]
fn nothing_is_lost_uncounted_with_small_pages_and_narrow_words() {
    assert!(torture::<1024, 4>("1K/4", 3, 3, 16).gaps > 0);
}

#[test]
fn nothing_is_lost_uncounted_with_large_pages() {
    torture::<4096, 4>("4K/4", 4, 2, 12);
    torture::<4096, 8>("4K/8", 3, 3, 12);
    torture::<4096, 32>("4K/32", 3, 2, 8);
}

#[test]
fn nothing_is_lost_uncounted_where_a_word_is_a_byte() {
    let (small, large) = (torture::<1024, 1>("1K/1", 5, 3, 8), torture::<4096, 1>("4K/1", 3, 2, 8));
    // What a cut in the very writing of a mark takes, and little else.
    assert!(small.undated + large.undated < 5);
}

#[test]
fn nothing_is_lost_at_all_while_there_is_room() {
    let tally = torture::<4096, 8>("4K/8 roomy", 64, 2, 8);
    assert_eq!((tally.gaps, tally.lost), (0, 0));
    // Many boots wait at once, so marks of the oldest make room.
    assert!(tally.undated > 0 && tally.undated < tally.dated_later / 4);
}

#[test]
fn many_boots_without_a_listener_are_summed_exactly() {
    for seed in 0..20 {
        let setup = Setup { seed, starts: 60, pages: 3, drain: 0, bug: false };
        soak::<1024, 8>(&setup);
    }
}

#[test]
fn the_very_first_writes_cut_anywhere_are_not_taken_for_something_else() {
    let mut torn = 0;
    // Each page is erased first, which nobody sees; what counts is where the writing is cut.
    for budget in (1_020..1_060).chain(2_060..2_140) {
        let chip = Rc::new(RefCell::new(FlashModel::<1024, 4>::erased(6, budget)));
        let layout = Layout::without_vault(0..2_048, 2_048..6_144);
        let start = || now(Spool::open(SharedFlash(chip.clone()), layout.clone()));
        chip.borrow_mut().cut_after(budget);
        if let Ok((mut spool, boot, _)) = start() {
            let mut builder = BatchBuilder::new(boot, Seq(0), Schema(7), Uptime(0));
            builder.reading(Uptime(0), ChannelId(0), value(boot.0, 0)).unwrap();
            torn += u32::from(now(spool.push(&builder.finish(None))).is_err());
        } else {
            torn += 1;
        }
        chip.borrow_mut().power_up();
        let (_, boot, found) = start().unwrap();
        assert!(!found.ring_formatted && !found.area_formatted, "cut after {budget}: boot {}", boot.0);
    }
    assert!(torn > 80, "{torn} of 120 were cut");
}

#[test]
fn the_planted_bug_is_caught() {
    // Delivered before the receiver has it: the check must see it, or it checks nothing.
    let caught = (0..10).filter(|&seed| {
        let setup = Setup { seed, starts: 40, pages: 6, drain: 2, bug: true };
        std::panic::catch_unwind(|| soak::<4096, 8>(&setup)).is_err()
    });
    assert_eq!(caught.count(), 10);
}
