//! Flash that holds something else, decays or refuses: the device starts, says so, and counts what it lost.

#![expect(clippy::unwrap_used, reason = "a panic is the report")]

use headwater_device::testing::{FlashModel, SharedFlash};
use headwater_device::{FlashError, Found, Item, Layout, OpenError, Spool};
use headwater_telemetry::limits::BODY_BYTES_MAX;
use headwater_telemetry::{
    Batch, BatchBuilder, BootId, ChannelId, Config, DeviceId, Schema, Seq, Uptime, Value, bounded,
};
use headwater_telemetry::{Network, Secret};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

const PAGE: usize = 1024;
type Model = FlashModel<PAGE, 16>;
type Shared = Rc<RefCell<Model>>;
const PAGES: usize = 8;

fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("flash in memory never waits"),
    }
}

fn layout() -> Layout {
    let page = u32::try_from(PAGE).unwrap();
    Layout::without_vault(0..2 * page, 2 * page..8 * page)
}

fn open(chip: &Shared) -> (Spool<SharedFlash<PAGE, 16>>, BootId, Found) {
    now(Spool::open(SharedFlash(chip.clone()), layout())).unwrap()
}

fn shared(model: Model) -> Shared {
    Rc::new(RefCell::new(model))
}

fn batch(boot: BootId, first: u32, count: u32) -> Batch {
    let mut builder = BatchBuilder::new(boot, Seq(first), Schema(1), Uptime(0));
    for n in first..first + count {
        builder.reading(Uptime(n.into()), ChannelId(0), Value::Integer(n.into())).unwrap();
    }
    builder.finish(None)
}

fn config(period_ms: u32) -> Config {
    let device = DeviceId::parse("dev").unwrap();
    Config { device, network: None, uplink: None, period_ms, batch_age_ms: 0 }
}

/// Everything that is undelivered, as (boot, first, through, gap).
fn all(spool: &mut Spool<SharedFlash<PAGE, 16>>) -> Vec<(u32, u32, u32, bool)> {
    let mut body = [0u8; BODY_BYTES_MAX];
    let mut cursor = spool.read();
    let mut items = Vec::new();
    while let Some(Item { boot, first, through, gap, after, .. }) =
        now(spool.next(cursor, Schema(1), &mut body)).unwrap()
    {
        items.push((boot.0, first.0, through.0, gap));
        cursor = after;
    }
    items
}

#[test]
fn a_new_chip_is_not_foreign() {
    let chip = shared(Model::erased(PAGES, 1));
    let (_, boot, found) = open(&chip);
    assert_eq!((boot, found), (BootId(1), Found::default()));
    let (_, boot, found) = open(&chip);
    assert_eq!((boot, found), (BootId(2), Found::default()));
}

#[test]
fn a_foreign_or_wiped_region_is_formatted_and_said_so() {
    let noise: Vec<u8> = (0..PAGES * PAGE).map(|n| u8::try_from(n * 31 % 251).unwrap()).collect();
    for content in [vec![0u8; PAGES * PAGE], noise, vec![0xa7; PAGES * PAGE]] {
        let chip = shared(Model::holding(&content, PAGES, 1));
        let (mut spool, boot, found) = open(&chip);
        assert_eq!(boot, BootId(1));
        assert!(found.area_formatted && found.ring_formatted);
        now(spool.push(&batch(boot, 0, 5))).unwrap();
        let (mut spool, boot, found) = open(&chip);
        assert_eq!((boot, found), (BootId(2), Found::default()));
        assert_eq!(all(&mut spool), [(1, 0, 4, false)]);
    }
}

#[test]
fn a_lost_settings_area_does_not_bring_back_names_that_were_used() {
    let chip = shared(Model::erased(PAGES, 1));
    for _ in 0..4 {
        let (mut spool, boot, _) = open(&chip);
        now(spool.push(&batch(boot, 0, 5))).unwrap();
    }
    chip.borrow_mut().bytes_mut()[..2 * PAGE].fill(0);
    let (_, boot, found) = open(&chip);
    assert!(found.area_formatted && !found.ring_formatted);
    assert_eq!(boot, BootId(5));
}

#[test]
fn a_page_that_decays_becomes_a_gap_in_place() {
    let chip = shared(Model::erased(PAGES, 1));
    let (mut spool, boot, _) = open(&chip);
    for first in (0..400).step_by(20) {
        now(spool.push(&batch(boot, first, 20))).unwrap();
    }
    let whole = all(&mut spool);
    assert_eq!(whole.len(), 20);
    // One bit, in the second page of the ring.
    chip.borrow_mut().bytes_mut()[3 * PAGE + 100] ^= 4;
    let found = all(&mut spool);
    let gap = found.iter().find(|item| item.3).expect("what cannot be read is a gap");
    assert!(gap.2 > gap.1);
    let mut next = 0;
    for &(_, first, through, _) in &found {
        assert_eq!(first, next, "no hole");
        next = through + 1;
    }
    assert_eq!(next, 400);
}

#[test]
fn a_configuration_survives_boots_and_page_turns() {
    let chip = shared(Model::erased(PAGES, 1));
    let config = |n: u32| Config {
        device: DeviceId::parse(&format!("dev-{n}")).unwrap(),
        network: Some(Network {
            ssid: bounded("net").unwrap(),
            passphrase: Secret::new(&"x".repeat(63)).unwrap(),
        }),
        uplink: None,
        period_ms: n,
        batch_age_ms: 0,
    };
    assert_eq!(now(open(&chip).0.config()).unwrap(), None);
    for n in 0..60 {
        let (mut spool, boot, found) = open(&chip);
        assert_eq!((boot, found), (BootId(n * 5 + 2), Found::default()));
        now(spool.store_config(&config(n))).unwrap();
        for _ in 0..4 {
            let (mut spool, _, _) = open(&chip);
            assert_eq!(now(spool.config()).unwrap(), Some(config(n)));
        }
    }
    assert!(chip.borrow().erases()[0] > 3, "the area turned its pages");
}

#[test]
fn a_boot_or_configuration_cut_anywhere_leaves_the_old_or_the_new() {
    for budget in (0..2_500).step_by(3) {
        let chip = shared(Model::erased(PAGES, budget));
        let (mut spool, _, _) = open(&chip);
        now(spool.store_config(&config(1))).unwrap();
        // Near the end of the page, so that many cuts fall into a turn.
        for _ in 0..(budget % 70) {
            open(&chip);
        }
        chip.borrow_mut().cut_after(budget);
        let before = match now(Spool::open(SharedFlash(chip.clone()), layout())) {
            Ok((mut spool, boot, _)) => {
                let _ = now(spool.store_config(&config(2)));
                boot.0
            }
            Err(OpenError::Driver(_)) => u32::try_from(budget % 70).unwrap() + 1,
            Err(OpenError::Layout) => unreachable!("the layout fits"),
        };
        chip.borrow_mut().power_up();
        let (mut spool, boot, found) = open(&chip);
        assert!(boot.0 > before, "boot {} after {before}", boot.0);
        assert!(!found.area_formatted);
        let period = now(spool.config()).unwrap().expect("one of them").period_ms;
        assert!([1, 2].contains(&period));
    }
}

#[test]
fn an_erased_device_does_not_count_from_the_same_number_again() {
    let open_from = |chip: &Shared, from| {
        let opened = now(Spool::open_counting_from(SharedFlash(chip.clone()), layout(), from)).unwrap();
        (opened.0, opened.1.0)
    };
    let chip = shared(Model::erased(PAGES, 1));
    assert_eq!(open_from(&chip, 700).1, 701);
    assert_eq!(open_from(&chip, 9).1, 702, "the number counts only where none was counted before");
    assert_eq!(open_from(&chip, 90_000).1, 703);
    let erased = shared(Model::erased(PAGES, 1));
    assert_eq!(open_from(&erased, 9).1, 10);
    assert_eq!(
        open_from(&shared(Model::erased(PAGES, 1)), u32::MAX).1,
        1 << 31,
        "half of all numbers are left"
    );
    // A lost settings area: above everything that the ring holds, whatever the number is.
    let (mut spool, boot) = open_from(&chip, 0);
    now(spool.push(&batch(BootId(boot), 0, 5))).unwrap();
    drop(spool);
    now(embedded_storage_async::nor_flash::NorFlash::erase(
        &mut SharedFlash(chip.clone()),
        0,
        2 * u32::try_from(PAGE).unwrap(),
    ))
    .unwrap();
    assert_eq!(open_from(&chip, 3).1, boot + 1);
}

#[test]
fn a_refused_batch_may_be_given_again() {
    let chip = shared(Model::erased(PAGES, 1));
    let (mut spool, boot, _) = open(&chip);
    now(spool.push(&batch(boot, 0, 5))).unwrap();
    for refusals in 1..4 {
        chip.borrow_mut().refuse(refusals);
        let next = batch(boot, refusals * 5, 5);
        while let Err(error) = now(spool.push(&next)) {
            assert!(matches!(error, FlashError::Driver(_)));
        }
    }
    let expected: Vec<_> = (0..4).map(|n| (1, n * 5, n * 5 + 4, false)).collect();
    assert_eq!(all(&mut spool), expected);
}

#[test]
fn a_worn_page_of_the_ring_is_passed_over_and_nothing_is_lost_uncounted() {
    for worn in 2..PAGES {
        let chip = shared(Model::erased(PAGES, 1));
        let (mut told, mut next_boot, mut refused) = (BTreeMap::<u32, u32>::new(), 1, 0);
        for life in 0..6 {
            if life == 1 {
                chip.borrow_mut().wear_out(worn);
            }
            let (mut spool, boot, found) = open(&chip);
            assert_eq!((boot.0, found), (next_boot, Found::default()));
            next_boot += 1;
            let mut tries = 0;
            for first in (0..1_000).step_by(20) {
                let next = batch(boot, first, 20);
                while now(spool.push(&next)).is_err() {
                    tries += 1;
                    assert!(tries < 50, "page {worn} ended the ring");
                }
                // Delivered slower than stored: the ring overflows.
                if first % 60 == 0 {
                    take(&mut spool, &mut told, 1);
                }
            }
            refused += tries;
            if life % 2 == 1 {
                take(&mut spool, &mut told, 1_000);
            }
        }
        assert!(refused > 0, "page {worn} was never reached");
        let every: Vec<_> = (1..next_boot).map(|boot| (boot, 1_000)).collect();
        assert_eq!(told.into_iter().collect::<Vec<_>>(), every, "with page {worn} worn");
    }
}

/// Takes up to so many items and notes how far each boot was told, without holes.
fn take(spool: &mut Spool<SharedFlash<PAGE, 16>>, told: &mut BTreeMap<u32, u32>, items: u32) {
    let mut body = [0u8; BODY_BYTES_MAX];
    for _ in 0..items {
        let Some(item) = now(spool.next(spool.read(), Schema(1), &mut body)).unwrap() else { break };
        let next = told.entry(item.boot.0).or_default();
        // What was not written down before a start comes again.
        assert!(item.first.0 <= *next, "hole in boot {}", item.boot.0);
        *next = (*next).max(item.through.0 + 1);
        let _ = now(spool.delivered(item.after));
    }
}

#[test]
fn flash_that_takes_nothing_more_still_gives_what_it_has() {
    let chip = shared(Model::erased(PAGES, 1));
    let (mut spool, boot, _) = open(&chip);
    for first in (0..100).step_by(20) {
        now(spool.push(&batch(boot, first, 20))).unwrap();
    }
    chip.borrow_mut().refuse(u32::MAX);
    for _ in 0..20 {
        assert!(now(spool.push(&batch(boot, 100, 20))).is_err());
    }
    let mut told = BTreeMap::new();
    take(&mut spool, &mut told, 1_000);
    assert_eq!(told, [(1, 100)].into());
    chip.borrow_mut().power_up();
    now(spool.push(&batch(boot, 100, 20))).unwrap();
    take(&mut spool, &mut told, 1_000);
    assert_eq!(told, [(1, 120)].into());
}

#[test]
fn a_worn_settings_area_is_said_and_names_are_not_used_again() {
    let chip = shared(Model::erased(PAGES, 1));
    let (mut spool, _, _) = open(&chip);
    now(spool.store_config(&config(7))).unwrap();
    // The page that is to be turned to. Until then nobody notices.
    chip.borrow_mut().wear_out(1);
    let (mut last, mut said) = (BootId(1), 0);
    for _ in 0..200 {
        let (mut spool, boot, found) = open(&chip);
        assert!(boot > last, "boot {} after {}", boot.0, last.0);
        last = boot;
        said += u32::from(found.area_worn);
        assert_eq!(now(spool.config()).unwrap(), Some(config(7)), "what was stored stays");
        if found.area_worn {
            assert!(now(spool.store_config(&config(8))).is_err());
        }
        // What a start leaves in the ring is what the next one counts from.
        now(spool.push(&batch(boot, 0, 5))).unwrap();
    }
    assert!(said > 50, "{said} starts of 200");
}

#[test]
fn a_settings_area_of_three_pages_outlives_a_worn_one() {
    let page = u32::try_from(PAGE).unwrap();
    let chip = shared(Model::erased(PAGES, 1));
    for n in 0..200 {
        if n == 3 {
            chip.borrow_mut().wear_out(1);
        }
        let layout = Layout::without_vault(0..3 * page, 3 * page..8 * page);
        let (mut spool, boot, found) = now(Spool::open(SharedFlash(chip.clone()), layout)).unwrap();
        assert_eq!((boot, found), (BootId(n + 1), Found::default()));
        now(spool.store_config(&config(n))).unwrap();
        assert_eq!(now(spool.config()).unwrap(), Some(config(n)));
    }
}

#[test]
fn a_layout_that_does_not_fit_is_refused() {
    let page = u32::try_from(PAGE).unwrap();
    let bad = [
        Layout::without_vault(0..page, 2 * page..8 * page),
        Layout::without_vault(0..2 * page, 2 * page..4 * page),
        Layout::without_vault(0..2 * page, page..8 * page),
        Layout::without_vault(0..2 * page, 2 * page..9 * page),
        Layout::without_vault(0..2 * page, 2 * page + 1..8 * page),
    ];
    for layout in bad {
        let opened = now(Spool::open(Model::erased(PAGES, 1), layout.clone()));
        assert!(matches!(opened.err(), Some(OpenError::Layout)), "{layout:?}");
    }
}
