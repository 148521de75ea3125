//! Credentials in flash: what counts is one whole that somebody sent, whatever happens on the way, and what does not count
//! leaves no trace.

#![expect(clippy::unwrap_used, reason = "a panic is the report")]

use embassy_futures::block_on as now;
use headwater_device::testing::{FlashModel, Rng, SharedFlash};
use headwater_device::{FlashError, Found, Layout, OpenError, Spool};
use headwater_telemetry::limits::CREDENTIALS_BYTES_MAX;
use headwater_telemetry::{CommandOutcome, Credentials, CredentialsPart, heapless};
use std::cell::RefCell;
use std::rc::Rc;

type Chip<const PAGE: usize, const WORD: usize> = Rc<RefCell<FlashModel<PAGE, WORD>>>;

/// Pages before the vault: two for settings, three for batches.
const BEFORE: usize = 5;

/// Pages of one half.
const fn half_pages(page: usize) -> usize {
    if page == 1024 { 3 } else { 1 }
}

fn chip<const PAGE: usize, const WORD: usize>(seed: u64) -> Chip<PAGE, WORD> {
    Rc::new(RefCell::new(FlashModel::erased(BEFORE + 2 * half_pages(PAGE), seed)))
}

fn layout(page: usize) -> Layout {
    let at = |pages: usize| u32::try_from(pages * page).unwrap();
    Layout {
        area: at(0)..at(2),
        ring: at(2)..at(BEFORE),
        vault: at(BEFORE)..at(BEFORE + 2 * half_pages(page)),
    }
}

type Opened<const PAGE: usize, const WORD: usize> = Spool<SharedFlash<PAGE, WORD>>;

fn open<const PAGE: usize, const WORD: usize>(chip: &Chip<PAGE, WORD>) -> (Opened<PAGE, WORD>, Found) {
    let (spool, _, found) = now(Spool::open(SharedFlash(chip.clone()), layout(PAGE))).unwrap();
    (spool, found)
}

/// Credentials that nothing else looks like: every byte follows from `n`.
fn encoded(n: u32) -> Vec<u8> {
    let mut rng = Rng::new(n.into());
    let mut bytes = |len| (0..len).map(|_| rng.next_u64().to_le_bytes()[3]).collect::<Vec<u8>>();
    let (authority, certificate, key) = (bytes(620), bytes(640 + n as usize % 60), bytes(121));
    let name = format!("gateway-{n}.local");
    let credentials =
        Credentials { server_name: &name, authority: &authority, certificate: &certificate, key: &key };
    credentials.encode(&mut [0; CREDENTIALS_BYTES_MAX]).unwrap().to_vec()
}

/// Sends piece after piece until one is not taken; zero removes.
fn send<const PAGE: usize, const WORD: usize>(spool: &mut Opened<PAGE, WORD>, n: u32) -> CommandOutcome {
    if n == 0 {
        return now(spool.take_credentials(&CredentialsPart::removal()));
    }
    for part in CredentialsPart::all(&encoded(n)) {
        let outcome = now(spool.take_credentials(&part));
        if outcome != CommandOutcome::Done {
            return outcome;
        }
    }
    CommandOutcome::Done
}

/// Which credentials count; zero for none.
fn stored<const PAGE: usize, const WORD: usize>(spool: &mut Opened<PAGE, WORD>) -> u32 {
    let mut out = [0; CREDENTIALS_BYTES_MAX];
    let Some(found) = now(spool.credentials(&mut out)).unwrap() else { return 0 };
    let name = found.server_name.strip_prefix("gateway-").and_then(|name| name.strip_suffix(".local"));
    let n = name.unwrap().parse().unwrap();
    assert_eq!(found.encode(&mut [0; CREDENTIALS_BYTES_MAX]).unwrap(), encoded(n), "a mixture");
    n
}

/// Whether any 16 bytes of these credentials are anywhere on the chip.
fn leaves_a_trace<const PAGE: usize, const WORD: usize>(chip: &Chip<PAGE, WORD>, n: u32) -> bool {
    let (mut chip, whole) = (chip.borrow_mut(), encoded(n));
    let flash = &chip.bytes_mut()[BEFORE * PAGE..];
    // Any run of 16 bytes holds a whole window that begins at a multiple of 8: compare those only.
    let windows: std::collections::BTreeSet<_> = whole[24..].windows(8).step_by(8).collect();
    flash.windows(8).any(|window| windows.contains(window))
}

/// Lives with cuts at any byte of anything, on flash with ECC: what counts is what was sent last, or what was sent before
/// where the last did not come to its end, and of nothing else is there a trace.
fn torture<const PAGE: usize, const WORD: usize>(seed: u64) -> (u32, u32) {
    let (chip, mut rng) = (chip::<PAGE, WORD>(seed), Rng::new(seed));
    let (mut allowed, mut cuts, mut taken) = (vec![0], 0, 0);
    let bytes = 4 * half_pages(PAGE) * PAGE + 4_000;
    for n in 1..120 {
        chip.borrow_mut().power_up();
        if rng.chance(3) {
            chip.borrow_mut().cut_after(rng.below(400));
            cuts += u32::from(now(Spool::open(SharedFlash(chip.clone()), layout(PAGE))).is_err());
            chip.borrow_mut().power_up();
        }
        let (mut spool, found) = open(&chip);
        assert!(!found.vault_formatted && !found.vault_damaged, "a cut is neither");
        let before = stored(&mut spool);
        assert!(allowed.contains(&before), "{before} counts, not one of {allowed:?}");
        for &other in allowed.iter().filter(|&&other| other != before && other != 0) {
            assert!(!leaves_a_trace(&chip, other), "of {other}, while {before} counts");
        }
        let next = if rng.chance(4) { 0 } else { n };
        if rng.chance(2) {
            chip.borrow_mut().cut_after(rng.below(u64::try_from(bytes).unwrap()));
        }
        match send(&mut spool, next) {
            CommandOutcome::Done => {
                taken += 1;
                allowed = vec![next];
                if !chip.borrow().is_dead() {
                    assert_eq!(stored(&mut spool), next);
                    assert!(before == 0 || before == next || !leaves_a_trace(&chip, before));
                }
                if before != 0 && before != next {
                    // Its erasing may have been cut: the next start does it.
                    allowed.push(next);
                    chip.borrow_mut().power_up();
                    let (mut spool, _) = open(&chip);
                    assert_eq!(stored(&mut spool), next);
                    assert!(!leaves_a_trace(&chip, before), "of {before}, replaced by {next}");
                }
            }
            CommandOutcome::FlashFailed => {
                cuts += 1;
                allowed = vec![before, next];
            }
            CommandOutcome::Refused => panic!("nothing was wrong with it"),
        }
    }
    (cuts, taken)
}

#[test]
fn a_cut_at_any_byte_leaves_the_old_or_the_new_and_no_trace_of_the_other() {
    let (mut cuts, mut taken) = (0, 0);
    let kinds = [torture::<4096, 1>, torture::<4096, 4>, torture::<4096, 8>, torture::<1024, 4>];
    for (torture, seed) in kinds.into_iter().chain([torture::<1024, 32>, torture::<4096, 32>]).zip(0..) {
        for seed in [seed, seed + 10] {
            let more = torture(seed);
            (cuts, taken) = (cuts + more.0, taken + more.1);
        }
    }
    assert!(cuts > 200 && taken > 400, "{cuts} cuts, {taken} taken: they no longer happen");
}

#[test]
fn the_largest_credentials_fit_on_every_flash() {
    fn fits<const PAGE: usize, const WORD: usize>() {
        let chip = chip::<PAGE, WORD>(1);
        let (authority, certificate, key) = ([1u8; 700], [2; 700], [3; 640]);
        let credentials = Credentials {
            server_name: "x",
            authority: &authority,
            certificate: &certificate,
            key: &key[..CREDENTIALS_BYTES_MAX - 1_400 - 1 - 7],
        };
        let mut out = [0; CREDENTIALS_BYTES_MAX];
        let encoded = credentials.encode(&mut out).unwrap();
        assert_eq!(encoded.len(), CREDENTIALS_BYTES_MAX);
        for _ in 0..3 {
            let (mut spool, _) = open(&chip);
            for part in CredentialsPart::all(encoded) {
                assert_eq!(now(spool.take_credentials(&part)), CommandOutcome::Done);
            }
            let (mut spool, _) = open(&chip);
            let mut out = [0; CREDENTIALS_BYTES_MAX];
            assert_eq!(now(spool.credentials(&mut out)).unwrap(), Some(credentials));
            assert_eq!(send(&mut spool, 9), CommandOutcome::Done);
        }
    }
    fits::<1024, 1>();
    fits::<1024, 32>();
    fits::<4096, 4>();
    fits::<4096, 32>();
}

#[test]
fn a_piece_that_comes_again_is_taken_once_and_one_that_does_not_follow_is_refused() {
    use CommandOutcome::{Done, Refused};
    let chip = chip::<4096, 4>(1);
    let (mut spool, _) = open(&chip);
    let parts: Vec<_> = CredentialsPart::all(&encoded(1)).collect();
    let other: Vec<_> = CredentialsPart::all(&encoded(2)).collect();
    let mut take = |part: &CredentialsPart| now(spool.take_credentials(part));
    assert_eq!(take(&parts[1]), Refused, "nothing was begun");
    for (index, part) in parts.iter().enumerate() {
        assert_eq!(take(part), Done);
        let written = chip.borrow().written();
        assert_eq!(take(part), Done, "its result was lost");
        // What is refused leaves what came.
        if let Some(later) = parts.get(index + 2) {
            assert_eq!((take(later), take(&other[index + 1])), (Refused, Refused));
        }
        assert_eq!(chip.borrow().written(), written);
    }
    // The last result was lost, and the device started anew since: nothing is written.
    let (mut spool, _) = open(&chip);
    let written = chip.borrow().written();
    assert_eq!(now(spool.take_credentials(parts.last().unwrap())), Done);
    assert_eq!(send(&mut spool, 1), Done);
    assert_eq!(stored(&mut spool), 1);
    assert_eq!(chip.borrow().written(), written);
    // Begun, and begun anew with others.
    assert_eq!([0, 1].map(|n| now(spool.take_credentials(&other[n]))), [Done; 2]);
    assert_eq!((send(&mut spool, 3), stored(&mut spool)), (Done, 3));
    // A start in the middle: begin anew.
    assert_eq!(now(spool.take_credentials(&other[0])), Done);
    let (mut spool, _) = open(&chip);
    assert_eq!(now(spool.take_credentials(&other[1])), Refused);
    assert_eq!((send(&mut spool, 2), stored(&mut spool)), (Done, 2));
}

#[test]
fn what_is_not_whole_or_not_credentials_never_counts_and_the_old_ones_stay() {
    use CommandOutcome::{Done, Refused};
    let chip = chip::<4096, 4>(1);
    let (mut spool, _) = open(&chip);
    assert_eq!(send(&mut spool, 1), Done);
    let mut parts: Vec<_> = CredentialsPart::all(&encoded(2)).collect();
    for part in &mut parts {
        part.checksum ^= 1;
    }
    let outcomes: Vec<_> = parts.iter().map(|part| now(spool.take_credentials(part))).collect();
    assert_eq!(outcomes.last(), Some(&Refused), "the checksum is of something else");
    assert_eq!(stored(&mut spool), 1);
    assert!(!leaves_a_trace(&chip, 2));
    for garbage in [&[0u8; 600][..], &[1, b'a', 1, 1, 1, 1], &[4; 700]] {
        let parts: Vec<_> = CredentialsPart::all(garbage).collect();
        let outcomes: Vec<_> = parts.iter().map(|part| now(spool.take_credentials(part))).collect();
        assert_eq!(outcomes.last(), Some(&Refused));
        assert_eq!(stored(&mut spool), 1);
    }
    let part = CredentialsPart::all(&encoded(2)).next().unwrap();
    let none = heapless::Vec::new();
    for bad in [
        CredentialsPart { total: 2_049, ..part.clone() },
        CredentialsPart { total: u16::MAX, offset: u16::MAX, ..part.clone() },
        CredentialsPart { total: 200, ..part.clone() },
        CredentialsPart { total: 0, ..part.clone() },
        CredentialsPart { bytes: none, ..part },
    ] {
        assert_eq!(now(spool.take_credentials(&bad)), Refused, "{bad:?}");
    }
    // Pieces of one byte: the half is full long before the end.
    let whole = encoded(2);
    let all = CredentialsPart::all(&whole).next().unwrap();
    let mut outcomes = (0..whole.len()).map(|at| {
        let bytes = heapless::Vec::from_slice(&whole[at..=at]).unwrap();
        let offset = u16::try_from(at).unwrap();
        now(spool.take_credentials(&CredentialsPart { offset, bytes, ..all.clone() }))
    });
    assert_eq!(outcomes.find(|&outcome| outcome != Done), Some(Refused));
    let (mut spool, _) = open(&chip);
    assert_eq!(stored(&mut spool), 1);
    assert_eq!((send(&mut spool, 2), stored(&mut spool)), (Done, 2));
}

#[test]
fn flash_that_refuses_leaves_the_old_credentials_and_takes_the_new_ones_later() {
    // Every single operation of an upload, refused once.
    for skip in 0..14 {
        let chip = chip::<4096, 4>(skip);
        let (mut spool, _) = open(&chip);
        assert_eq!(send(&mut spool, 1), CommandOutcome::Done);
        let mut failed = false;
        for (part, index) in CredentialsPart::all(&encoded(2)).zip(0..) {
            if index == skip {
                chip.borrow_mut().refuse(1);
            }
            if now(spool.take_credentials(&part)) != CommandOutcome::Done {
                failed = true;
                break;
            }
        }
        chip.borrow_mut().power_up();
        assert_eq!(failed, skip < 6, "{skip}");
        assert_eq!(stored(&mut spool), if failed { 1 } else { 2 });
        assert_eq!((send(&mut spool, 2), stored(&mut spool)), (CommandOutcome::Done, 2));
        assert!(!leaves_a_trace(&chip, 1));
    }
    // Removing says done only when the old pages are erased.
    let chip = chip::<4096, 4>(1);
    let (mut spool, _) = open(&chip);
    send(&mut spool, 1);
    chip.borrow_mut().refuse(1);
    assert_eq!((send(&mut spool, 0), stored(&mut spool)), (CommandOutcome::FlashFailed, 1));
    assert_eq!((send(&mut spool, 0), stored(&mut spool)), (CommandOutcome::Done, 0));
    assert!(!leaves_a_trace(&chip, 1));
    let written = chip.borrow().written();
    assert_eq!(send(&mut spool, 0), CommandOutcome::Done);
    assert_eq!(chip.borrow().written(), written, "nothing to remove");
}

#[test]
fn a_foreign_region_is_formatted_and_said_so_and_decay_is_no_way_to_lose_credentials_silently() {
    const PAGE: usize = 4096;
    let noise: Vec<u8> = (0..2 * PAGE).map(|n| u8::try_from(n * 31 % 251).unwrap()).collect();
    for content in [vec![0u8; 2 * PAGE], noise, vec![0xa5; 2 * PAGE]] {
        let whole = [vec![0xff; BEFORE * PAGE], content].concat();
        let chip: Chip<PAGE, 4> = Rc::new(RefCell::new(FlashModel::holding(&whole, BEFORE + 2, 1)));
        // What lies before is blank, and was never programmed.
        now(async {
            use embedded_storage_async::nor_flash::NorFlash;
            SharedFlash(chip.clone()).erase(0, u32::try_from(BEFORE * PAGE).unwrap()).await.unwrap();
        });
        let (mut spool, found) = open(&chip);
        assert_eq!(found, Found { vault_formatted: true, ..Found::default() });
        assert_eq!(stored(&mut spool), 0);
        assert_eq!((send(&mut spool, 1), stored(&mut spool)), (CommandOutcome::Done, 1));
        let (_, found) = open(&chip);
        assert_eq!(found, Found::default());
    }
    let chip = chip::<PAGE, 4>(1);
    let (mut spool, _) = open(&chip);
    assert_eq!(send(&mut spool, 1), CommandOutcome::Done);
    chip.borrow_mut().bytes_mut()[BEFORE * PAGE + 900] ^= 4;
    for _ in 0..2 {
        let (mut spool, found) = open(&chip);
        assert_eq!(found, Found { vault_damaged: true, ..Found::default() });
        let mut out = [0; CREDENTIALS_BYTES_MAX];
        assert_eq!(now(spool.credentials(&mut out)), Err(FlashError::Damaged));
    }
    let (mut spool, _) = open(&chip);
    assert_eq!((send(&mut spool, 2), stored(&mut spool)), (CommandOutcome::Done, 2));
    assert!(!leaves_a_trace(&chip, 1));
    assert_eq!(open(&chip).1, Found::default());
}

#[test]
fn a_device_without_a_vault_refuses_and_one_that_is_too_small_does_not_open() {
    const PAGE: usize = 1024;
    let chip = chip::<PAGE, 32>(1);
    let at = |pages: usize| u32::try_from(pages * PAGE).unwrap();
    let without = Layout::without_vault(at(0)..at(2), at(2)..at(BEFORE));
    let (mut spool, _, _) = now(Spool::open(SharedFlash(chip.clone()), without)).unwrap();
    assert_eq!([1, 0].map(|n| send(&mut spool, n)), [CommandOutcome::Refused; 2]);
    assert_eq!(stored(&mut spool), 0);
    for vault in [at(5)..at(9), at(5)..at(10), at(4)..at(10), at(6)..at(12), at(5)..at(11) + 1, at(11)..at(5)]
    {
        let layout = Layout { vault: vault.clone(), ..layout(PAGE) };
        let opened = now(Spool::open(SharedFlash(chip.clone()), layout));
        assert!(matches!(opened.err(), Some(OpenError::Layout)), "{vault:?}");
    }
}
