//! What survives a cut and what does not, for each kind of sync.

use std::ffi::OsStr;

use super::{Disk, Fates, Honours, Mode, ROOT, Refusal};

fn name(name: &str) -> &OsStr {
    OsStr::new(name)
}

/// A disk with one durable file `a` of two sectors of ones.
fn disk() -> (Disk, u64) {
    let mut disk = Disk::new();
    let file = disk.create(ROOT, name("a"), 0o600, false).unwrap().node;
    disk.write(file, 0, [1; 1024].into()).unwrap();
    disk.sync(file).unwrap();
    disk.sync(ROOT).unwrap();
    (disk, file)
}

fn cut(disk: &Disk, mode: Mode, seed: u64) -> Disk {
    disk.cut(&mut Fates::new(mode, seed)).0
}

fn bytes(disk: &Disk, file: &str) -> Result<Vec<u8>, Refusal> {
    disk.lookup(ROOT, name(file)).and_then(|found| disk.read(found.node, 0, 1 << 20))
}

#[test]
fn what_was_synced_survives_and_what_was_not_does_not() {
    let (mut disk, file) = disk();
    disk.write(file, 512, [2; 1024].into()).unwrap();
    let left = cut(&disk, Mode::Nothing, 1);
    assert_eq!(bytes(&left, "a").unwrap(), [1; 1024]);
    assert_eq!(disk.read(file, 0, 2000).unwrap().len(), 1536, "the machine that saw the write sees it still");
    disk.sync(file).unwrap();
    let left = cut(&disk, Mode::Nothing, 1);
    assert_eq!(bytes(&left, "a").unwrap(), [[1; 512], [2; 512], [2; 512]].concat());
}

#[test]
fn a_sync_of_the_file_does_not_keep_its_name_and_one_of_the_directory_not_its_bytes() {
    let (mut disk, _) = disk();
    let file = disk.create(ROOT, name("b"), 0o600, false).unwrap().node;
    disk.write(file, 0, (*b"text").into()).unwrap();
    disk.sync(file).unwrap();
    assert_eq!(bytes(&cut(&disk, Mode::Nothing, 1), "b"), Err(Refusal::Missing));
    disk.sync(ROOT).unwrap();
    disk.write(file, 0, (*b"more").into()).unwrap();
    disk.sync(ROOT).unwrap();
    assert_eq!(bytes(&cut(&disk, Mode::Nothing, 1), "b").unwrap(), b"text");
}

#[test]
fn a_renaming_is_undone_unless_its_directory_was_synced() {
    let (mut disk, _) = disk();
    disk.rename((ROOT, name("a")), (ROOT, name("b")), true).unwrap();
    let left = cut(&disk, Mode::Nothing, 1);
    assert_eq!((bytes(&left, "a").unwrap().len(), bytes(&left, "b")), (1024, Err(Refusal::Missing)));
    disk.sync(ROOT).unwrap();
    let left = cut(&disk, Mode::Nothing, 1);
    assert_eq!((bytes(&left, "a"), bytes(&left, "b").unwrap().len()), (Err(Refusal::Missing), 1024));
}

#[test]
fn a_sync_of_one_directory_takes_what_its_names_build_on_and_nothing_else() {
    let (mut disk, _) = disk();
    let below = disk.create(ROOT, name("d"), 0o700, true).unwrap().node;
    disk.sync(ROOT).unwrap();
    disk.create(below, name("new"), 0o600, false).unwrap();
    disk.create(below, name("other"), 0o600, false).unwrap();
    disk.rename((below, name("new")), (ROOT, name("new")), true).unwrap();
    disk.sync(ROOT).unwrap();
    let left = cut(&disk, Mode::Nothing, 1);
    assert!(left.lookup(ROOT, name("new")).is_ok());
    assert_eq!(left.lookup(below, name("new")), Err(Refusal::Missing));
    assert_eq!(left.lookup(below, name("other")), Err(Refusal::Missing));
}

#[test]
fn no_name_survives_without_the_change_it_builds_on() {
    let (mut disk, _) = disk();
    for number in 0..6 {
        disk.create(ROOT, name("step"), 0o600, false).unwrap();
        disk.rename((ROOT, name("step")), (ROOT, name(&format!("done-{number}"))), true).unwrap();
    }
    let mut counts = [0; 7];
    for seed in 0..500 {
        let left = cut(&disk, Mode::Sectors(700), seed);
        let found = left
            .list(ROOT)
            .unwrap()
            .iter()
            .filter(|(name, _)| name.to_string_lossy().starts_with("done"))
            .count();
        // All go through the name "step", so a lost change takes everything behind it.
        let expected =
            (0..6).take_while(|number| left.lookup(ROOT, name(&format!("done-{number}"))).is_ok()).count();
        assert_eq!(found, expected, "seed {seed}");
        counts[found] += 1;
    }
    assert!(counts.iter().all(|count| *count > 0), "every length of history occurs: {counts:?}");
}

#[test]
fn writes_are_torn_at_sectors_and_reordered() {
    let (mut disk, file) = disk();
    disk.write(file, 0, [2; 1024].into()).unwrap();
    disk.write(file, 0, [3; 1024].into()).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let left = bytes(&cut(&disk, Mode::Sectors(500), seed), "a").unwrap();
        assert!(
            left.chunks(512).all(|sector| sector.iter().all(|byte| *byte == sector[0])),
            "torn inside a sector"
        );
        seen.insert((left[0], left[512]));
    }
    assert_eq!(seen.len(), 9, "each sector is the old, the earlier or the later for itself: {seen:?}");
}

#[test]
fn a_disk_with_larger_sectors_tears_at_those() {
    let (mut disk, file) = disk();
    disk.write(file, 2048, [2; 8192].into()).unwrap();
    for seed in 0..50 {
        let mut fates = Fates::new(Mode::Sectors(500), seed).with_sectors(4096);
        let left = disk.cut(&mut fates).0.read(file, 0, 10_240).unwrap();
        let pieces =
            [2048..4096, 4096..8192, 8192..10_240].map(|range| left.get(range).unwrap_or_default().to_vec());
        assert!(pieces.iter().all(|piece| piece.iter().all(|byte| *byte == piece[0])), "seed {seed}");
    }
}

#[test]
fn a_length_can_be_kept_whose_bytes_are_lost() {
    let (mut disk, file) = disk();
    disk.write(file, 1024, [2; 512].into()).unwrap();
    let seen: std::collections::BTreeSet<Vec<u8>> =
        (0..50).map(|seed| bytes(&cut(&disk, Mode::Sectors(500), seed), "a").unwrap()).collect();
    let ends = [&[][..], &[0; 512][..], &[2; 512][..]].map(|end| [&[1; 1024][..], end].concat());
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ends);
}

#[test]
fn the_same_seed_leaves_the_same_disk() {
    let (mut disk, file) = disk();
    for number in 0..40 {
        disk.write(file, number * 700, [9; 1500].into()).unwrap();
    }
    let image = |seed| bytes(&cut(&disk, Mode::Writes(500), seed), "a").unwrap();
    assert_eq!(image(7), image(7));
    assert_ne!(image(7), image(8));
}

#[test]
fn a_disk_that_lies_says_yes_and_keeps_nothing() {
    let (mut disk, file) = disk();
    disk.honours = Honours { files: false, names: true };
    disk.write(file, 0, [2; 1024].into()).unwrap();
    disk.sync(file).unwrap();
    assert_eq!(bytes(&cut(&disk, Mode::Nothing, 1), "a").unwrap(), [1; 1024]);
    disk.honours = Honours { files: true, names: false };
    disk.rename((ROOT, name("a")), (ROOT, name("b")), true).unwrap();
    disk.sync(ROOT).unwrap();
    let left = cut(&disk, Mode::Nothing, 1);
    assert!(left.lookup(ROOT, name("a")).is_ok());
    assert_eq!(left.honours, Honours::ALL, "power is back on an honest disk");
}
