//! One contract, both storages.

use super::*;

fn filled(fill: u8, blocks: usize) -> Blocks {
    let mut buffer = Blocks::zeroed(blocks * BLOCK_BYTES);
    buffer.as_mut_slice().fill(fill);
    buffer
}

fn read<F: StorageFile>(file: &F, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut buf = vec![0xaa; len];
    file.read_at(&mut buf, offset).map(|()| buf)
}

fn keeps_the_contract<S: Storage>(storage: &S) {
    let sorted = || {
        let mut names = storage.list().unwrap();
        names.sort();
        names
    };
    let kind = |error: Option<io::Error>| error.map(|error| error.kind());

    assert!(sorted().is_empty());
    assert_eq!(kind(storage.open("a").err()), Some(io::ErrorKind::NotFound));
    let a = storage.create("a", 3 * 4096 + 100).unwrap();
    assert_eq!(a.len().unwrap(), 3 * 4096 + 100);
    assert_eq!(read(&a, 12_288, 100).unwrap(), [0; 100]);
    assert_eq!(kind(storage.create("a", 0).err()), Some(io::ErrorKind::AlreadyExists));

    // A second handle sees writes at once; reads take any offset and length.
    let again = storage.open("a").unwrap();
    a.write_at(&filled(1, 2), 4096).unwrap();
    assert_eq!(read(&again, 4095, 2).unwrap(), [0, 1]);
    assert_eq!(read(&again, 12_287, 2).unwrap(), [1, 0]);
    assert_eq!(read(&again, 5, 0).unwrap(), [0; 0]);
    again.sync().unwrap();

    // Past the end the file grows, with zeros in between.
    a.write_at(&filled(2, 1), 5 * 4096).unwrap();
    assert_eq!(again.len().unwrap(), 6 * 4096);
    assert_eq!(read(&again, 4 * 4096 - 1, 4097).unwrap(), [0; 4097]);
    assert_eq!(kind(read(&again, 6 * 4096 - 1, 2).err()), Some(io::ErrorKind::UnexpectedEof));
    assert_eq!(kind(read(&again, u64::MAX - 1, 4).err()), Some(io::ErrorKind::UnexpectedEof));
    assert!(!a.is_empty().unwrap());

    for (offset, len) in [(512, 4096), (0, 100)] {
        let mut odd = filled(3, 1);
        odd.resize(len);
        assert_eq!(kind(a.write_at(&odd, offset).err()), Some(io::ErrorKind::InvalidInput));
    }

    // Handles stay with their file; a renaming replaces.
    let b = storage.create("b", 4096).unwrap();
    storage.rename("a", "b").unwrap();
    storage.sync_dir().unwrap();
    assert_eq!(sorted(), ["b"]);
    assert_eq!(read(&storage.open("b").unwrap(), 4096, 1).unwrap(), [1]);
    assert_eq!((read(&a, 4096, 1).unwrap(), read(&b, 0, 1).unwrap()), (vec![1], vec![0]));
    assert_eq!(kind(storage.rename("a", "c").err()), Some(io::ErrorKind::NotFound));

    storage.remove("b").unwrap();
    assert_eq!(kind(storage.remove("b").err()), Some(io::ErrorKind::NotFound));
    a.write_at(&filled(4, 1), 0).unwrap();
    a.sync().unwrap();
    assert_eq!(read(&a, 0, 1).unwrap(), [4]);
    assert!(sorted().is_empty());
    assert!(storage.free_bytes().unwrap() > 1 << 20);
}

#[test]
fn files_keep_the_contract_past_and_through_the_page_cache() {
    for mode in [IoMode::Auto, IoMode::Buffered, IoMode::Sparse] {
        let dir = tempfile::tempdir().unwrap();
        keeps_the_contract(&FileStorage::open(dir.path(), mode).unwrap());
    }
}

#[test]
fn the_simulated_disk_keeps_the_contract() {
    keeps_the_contract(&SimDisk::new(1));
}
