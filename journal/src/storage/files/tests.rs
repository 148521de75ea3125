use std::os::unix::fs::PermissionsExt;

use super::*;

fn pattern(count: usize) -> Blocks {
    let mut blocks = Blocks::new();
    blocks.resize(count * BLOCK_BYTES);
    for (byte, value) in blocks.as_mut_slice().iter_mut().zip((0..=250).cycle()) {
        *byte = value;
    }
    blocks
}

fn modes() -> Vec<(tempfile::TempDir, FileStorage)> {
    let open = |mode| {
        let dir = tempfile::tempdir().unwrap();
        let storage = FileStorage::open(dir.path(), mode).unwrap();
        (dir, storage)
    };
    vec![open(IoMode::Auto), open(IoMode::Buffered), open(IoMode::Sparse)]
}

#[test]
fn what_was_written_is_read_in_every_mode() {
    for (_dir, storage) in modes() {
        let file = storage.create("segment", 3 * ZERO_BYTES as u64 / 2).unwrap();
        let mut buf = vec![1; 100];
        file.read_at(&mut buf, 1_000_001).unwrap();
        assert_eq!(buf, [0; 100]);
        file.write_at(&pattern(3), 8192).unwrap();
        file.sync().unwrap();
        let mut buf = vec![0; 3 * BLOCK_BYTES];
        storage.open("segment").unwrap().read_at(&mut buf, 8192).unwrap();
        assert_eq!(buf, pattern(3).as_slice());
        assert_eq!(file.len().unwrap(), 3 * ZERO_BYTES as u64 / 2);
    }
}

#[test]
fn a_direct_write_shows_in_pages_that_were_read_before() {
    let (_dir, storage) = modes().remove(0);
    let file = storage.create("segment", 65_536).unwrap();
    for round in 1..20 {
        let mut buf = vec![0; 65_536];
        file.read_at(&mut buf, 0).unwrap();
        let mut blocks = Blocks::new();
        blocks.resize(2 * BLOCK_BYTES);
        blocks.as_mut_slice().fill(round);
        file.write_at(&blocks, u64::from(round % 8) * 8192).unwrap();
        file.read_at(&mut buf, 0).unwrap();
        assert_eq!(buf[usize::from(round % 8) * 8192], round);
    }
}

#[test]
fn names_are_created_renamed_listed_and_removed() {
    for (dir, storage) in modes() {
        storage.create("a", 4096).unwrap();
        storage.create("b", 0).unwrap();
        storage.rename("a", "b").unwrap();
        storage.sync_dir().unwrap();
        std::fs::create_dir(dir.path().join("lost+found")).unwrap();
        assert_eq!(storage.list().unwrap(), ["b"]);
        assert_eq!(storage.create("b", 0).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        storage.remove("b").unwrap();
        assert_eq!(storage.open("b").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(storage.list().unwrap().is_empty());
        assert!(storage.free_bytes().unwrap() > 0);
    }
}

#[test]
fn a_second_opener_is_told_who_holds_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(dir.path(), IoMode::Auto).unwrap();
    let clone = storage.clone();
    drop(storage);
    let error = FileStorage::open(dir.path(), IoMode::Auto).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
    let expected = format!("{}: in use by process {}", dir.path().display(), std::process::id());
    assert_eq!(error.to_string(), expected);
    drop(clone);
    FileStorage::open(dir.path(), IoMode::Auto).unwrap();
}

#[test]
fn files_and_new_directories_are_private() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state/journal");
    let storage = FileStorage::open(&path, IoMode::Auto).unwrap();
    storage.create("segment", 4096).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&dir.path().join("state"))), (0o700, 0o700));
    assert_eq!((mode(&path.join("segment")), mode(&path.join("lock"))), (0o600, 0o600));
    assert!(!path.join(PROBE_NAME).exists());
}

#[test]
fn a_file_system_without_direct_writes_is_used_through_the_page_cache() {
    // Newer kernels take O_DIRECT on tmpfs; then there is nothing to refuse and the mode says so.
    let Ok(dir) = tempfile::tempdir_in("/dev/shm") else { return };
    let storage = FileStorage::open(dir.path(), IoMode::Auto).unwrap();
    let direct = storage.direct();
    storage.create("segment", 8192).unwrap().write_at(&pattern(1), 4096).unwrap();
    drop(storage);
    match FileStorage::open(dir.path(), IoMode::Direct) {
        Ok(_) => assert!(direct),
        Err(error) => {
            assert!(!direct);
            assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        }
    }
}

#[test]
fn names_that_leave_the_directory_and_odd_writes_are_refused() {
    let (_dir, storage) = modes().remove(0);
    for name in ["", ".", "..", "../a", "a/b", ".hidden", "lock", "probe"] {
        assert_eq!(storage.create(name, 0).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name:?}");
    }
    let file = storage.create("segment", 4096).unwrap();
    assert_eq!(file.write_at(&pattern(1), 512).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    assert_eq!(file.read_at(&mut [0; 2], 4095).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}
