use super::*;
use crate::blocks::BLOCK_BYTES;

fn blocks(fill: u8, count: usize) -> Blocks {
    let mut blocks = Blocks::new();
    blocks.resize(count * BLOCK_BYTES);
    blocks.as_mut_slice().fill(fill);
    blocks
}

fn first_bytes(disk: &SimDisk, name: &str) -> Vec<u8> {
    let (_, bytes) = disk.image().into_iter().find(|(found, _)| found == name).unwrap();
    bytes.chunks(512).map(|sector| sector[0]).collect()
}

/// A disk with a durable file `f` of `count` zero blocks.
fn with_file(count: u64) -> (SimDisk, SimFile) {
    let disk = SimDisk::new(1);
    let file = disk.create("f", count * BLOCK_BYTES as u64).unwrap();
    disk.sync_dir().unwrap();
    (disk, file)
}

#[test]
fn a_synced_write_survives_every_cut() {
    for seed in 0..200 {
        let (disk, file) = with_file(2);
        file.write_at(&blocks(7, 2), 0).unwrap();
        file.sync().unwrap();
        let disk = disk.power_cut(seed);
        assert_eq!(first_bytes(&disk, "f"), [7; 16]);
    }
}

#[test]
fn an_unsynced_write_is_kept_lost_and_torn() {
    let (mut kept, mut lost, mut torn) = (0, 0, 0);
    for seed in 0..400 {
        let (disk, file) = with_file(2);
        file.write_at(&blocks(7, 2), 0).unwrap();
        let sectors = first_bytes(&disk.power_cut(seed), "f");
        match sectors.iter().filter(|byte| **byte == 7).count() {
            16 => kept += 1,
            0 => lost += 1,
            _ => torn += 1,
        }
    }
    assert!(kept > 40 && lost > 40 && torn > 40, "kept {kept}, lost {lost}, torn {torn}");
}

#[test]
fn a_later_write_is_kept_while_an_earlier_one_is_lost() {
    // Both orders of two writes to different blocks, and both versions of two writes to the same block.
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..400 {
        let (disk, file) = with_file(2);
        file.write_at(&blocks(1, 1), 0).unwrap();
        file.write_at(&blocks(2, 1), 4096).unwrap();
        file.write_at(&blocks(3, 1), 0).unwrap();
        let sectors = first_bytes(&disk.power_cut(seed), "f");
        seen.insert((sectors[0], sectors[8]));
    }
    let all = [(0, 0), (0, 2), (1, 0), (1, 2), (3, 0), (3, 2)];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), all);
}

#[test]
fn reads_see_unsynced_writes_and_a_kill_keeps_them_pending() {
    let (disk, file) = with_file(1);
    file.write_at(&blocks(5, 1), 0).unwrap();
    let mut buf = [0; 10];
    file.read_at(&mut buf, 4000).unwrap();
    assert_eq!(buf, [5; 10]);
    let disk = disk.kill();
    assert!(file.read_at(&mut buf, 0).is_err(), "a handle of the old process");
    assert_eq!((disk.pending(), first_bytes(&disk, "f")), (1, vec![5; 8]));
    let disk = disk.power_cut_with(|_| Fate::Lost);
    assert_eq!(first_bytes(&disk, "f"), [0; 8]);
}

#[test]
fn handles_of_an_earlier_life_fail() {
    let (disk, file) = with_file(1);
    let after = disk.power_cut(3);
    assert!(disk.list().is_err() && disk.create("g", 0).is_err() && disk.rename("f", "g").is_err());
    assert!(file.write_at(&blocks(1, 1), 0).is_err() && file.sync().is_err() && file.len().is_err());
    assert_eq!(after.list().unwrap(), ["f"]);
    assert_eq!(after.open("f").unwrap().len().unwrap(), 4096);
}

#[test]
fn directory_changes_are_volatile_until_the_directory_is_synced() {
    let (disk, _file) = with_file(1);
    disk.rename("f", "g").unwrap();
    disk.create("h", 4096).unwrap();
    assert_eq!(disk.list().unwrap(), ["g", "h"]);
    assert_eq!(disk.fork().power_cut_with(|_| Fate::Lost).list().unwrap(), ["f"]);
    let reordered = disk.fork().power_cut_with(|change| match change.operation {
        Operation::Create => Fate::Kept,
        _ => Fate::Lost,
    });
    assert_eq!(reordered.list().unwrap(), ["f", "h"]);
    disk.sync_dir().unwrap();
    assert_eq!(disk.power_cut_with(|_| Fate::Lost).list().unwrap(), ["g", "h"]);
}

#[test]
fn a_change_falls_with_the_lost_one_it_builds_on() {
    let (disk, _file) = with_file(1);
    disk.rename("f", "g").unwrap();
    disk.rename("g", "h").unwrap();
    let mut asked = 0;
    let disk = disk.power_cut_with(|_| {
        asked += 1;
        Fate::Lost
    });
    assert_eq!((disk.list().unwrap(), asked), (vec!["f".to_owned()], 1));
}

#[test]
fn a_removed_file_stays_readable_through_its_handle() {
    let (disk, file) = with_file(1);
    file.write_at(&blocks(9, 1), 0).unwrap();
    disk.remove("f").unwrap();
    disk.sync_dir().unwrap();
    let mut buf = [0; 4];
    file.read_at(&mut buf, 0).unwrap();
    assert_eq!(buf, [9; 4]);
    disk.limit_bytes(8192);
    assert_eq!(disk.free_bytes().unwrap(), 4096, "its space is free only when the handle is gone");
    drop(file);
    disk.sync_dir().unwrap();
    assert_eq!(disk.free_bytes().unwrap(), 8192);
}

#[test]
fn a_length_belongs_to_the_write_that_grew_the_file() {
    let (disk, file) = with_file(1);
    file.write_at(&blocks(1, 1), 4096).unwrap();
    assert_eq!(file.len().unwrap(), 8192);
    let cut = |fate| disk.fork().power_cut_with(|_| fate).open("f").unwrap().len().unwrap();
    assert_eq!((cut(Fate::Lost), cut(Fate::Kept), cut(Fate::Sectors { mask: 0 })), (4096, 8192, 8192));
    file.sync().unwrap();
    assert_eq!(disk.power_cut_with(|_| Fate::Lost).open("f").unwrap().len().unwrap(), 8192);
}

#[test]
fn a_failed_sync_may_forget_its_writes_though_a_later_one_succeeds() {
    let (mut kept, mut forgotten, mut reverted) = (0, 0, 0);
    for seed in 0..200 {
        let disk = SimDisk::new(seed);
        let file = disk.create("f", 4096).unwrap();
        disk.sync_dir().unwrap();
        file.write_at(&blocks(1, 1), 0).unwrap();
        disk.fail_operation(Operation::Sync, 0, Fault::Error);
        assert!(file.sync().is_err());
        let seen = first_bytes(&disk, "f") == [1; 8];
        file.sync().unwrap();
        let stored = first_bytes(&disk.power_cut_with(|_| Fate::Lost), "f") == [1; 8];
        match (seen, stored) {
            (true, true) => kept += 1,
            (true, false) => forgotten += 1,
            (false, false) => reverted += 1,
            (false, true) => panic!("seed {seed}: what no reader saw is stored"),
        }
    }
    assert!(kept > 20 && forgotten > 20 && reverted > 10, "{kept} {forgotten} {reverted}");
}

#[test]
fn a_block_written_again_after_a_failed_sync_is_synced_again() {
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        let file = disk.create("f", 4096).unwrap();
        disk.sync_dir().unwrap();
        file.write_at(&blocks(1, 1), 0).unwrap();
        disk.fail_operation(Operation::Sync, 0, Fault::Error);
        assert!(file.sync().is_err());
        file.write_at(&blocks(2, 1), 0).unwrap();
        file.sync().unwrap();
        assert_eq!(first_bytes(&disk.power_cut(seed), "f"), [2; 8]);
    }
}

#[test]
fn a_short_write_leaves_a_part() {
    let (disk, file) = with_file(1);
    disk.fail_step(0, Fault::ShortWrite);
    assert!(file.write_at(&blocks(1, 1), 0).is_err());
    let written = first_bytes(&disk, "f").iter().filter(|byte| **byte == 1).count();
    assert!((1..8).contains(&written), "{written} sectors");
}

#[test]
fn a_full_disk_refuses_creation_and_growth_but_not_rewriting() {
    let (disk, file) = with_file(1);
    disk.limit_bytes(8192);
    assert_eq!(disk.create("g", 8192).err().unwrap().kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.write_at(&blocks(1, 2), 4096).unwrap_err().kind(), io::ErrorKind::StorageFull);
    file.write_at(&blocks(1, 1), 0).unwrap();
    assert_eq!(disk.free_bytes().unwrap(), 4096);
    disk.remove("f").unwrap();
}

#[test]
fn power_goes_at_the_planned_step_and_stays_off() {
    let (disk, file) = with_file(1);
    disk.fail_step(1, Fault::PowerOff);
    file.write_at(&blocks(1, 1), 0).unwrap();
    assert!(file.sync().is_err(), "step 1");
    assert!(file.write_at(&blocks(1, 1), 0).is_err() && disk.list().is_err());
    let disk = disk.power_cut(0);
    assert_eq!(disk.list().unwrap(), ["f"]);
}

#[test]
fn flipped_bits_are_on_the_platter_and_in_what_is_read() {
    let (disk, file) = with_file(1);
    disk.flip_bit("f", 512, 1).unwrap();
    assert_eq!(first_bytes(&disk, "f")[..2], [0, 2]);
    file.write_at(&blocks(0xff, 1), 0).unwrap();
    disk.flip_bit("f", 512, 0).unwrap();
    assert_eq!(first_bytes(&disk, "f")[..2], [0xff, 0xfe]);
    assert!(disk.flip_bit("f", 4096, 0).is_err());
    let disk = disk.power_cut_with(|_| Fate::Lost);
    assert_eq!(first_bytes(&disk, "f")[..2], [0, 3]);
}

#[test]
fn a_fork_goes_its_own_way() {
    let (disk, file) = with_file(1);
    file.write_at(&blocks(1, 1), 0).unwrap();
    let fork = disk.fork();
    file.sync().unwrap();
    assert_eq!((disk.pending(), fork.pending()), (0, 1));
    assert_eq!(first_bytes(&fork.power_cut_with(|_| Fate::Lost), "f"), [0; 8]);
    assert_eq!(first_bytes(&disk.power_cut_with(|_| Fate::Lost), "f"), [1; 8]);
}

#[test]
fn the_same_seed_gives_the_same_disk() {
    let run = |seed| {
        let mut disk = SimDisk::new(seed);
        disk.record_steps();
        for round in 0..20_u8 {
            disk.fail_rate(5);
            let name = format!("f{}", round % 3);
            if let Ok(file) = disk.create(&name, 8192).or_else(|_| disk.open(&name)) {
                let _ = file.write_at(&blocks(round, 2), 0).and_then(|()| file.sync());
            }
            let _ = disk.rename(&name, "g").and_then(|()| disk.sync_dir());
            disk = disk.power_cut(u64::from(round));
        }
        (disk.steps(), disk.image(), disk.counters())
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5).0, run(6).0);
}
