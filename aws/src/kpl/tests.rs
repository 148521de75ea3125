use super::*;

fn aggregate<'a>(records: &[(&'a str, Option<u128>, &'a [u8])]) -> Aggregate<'a> {
    let mut aggregate = Aggregate::new();
    for (key, hash, data) in records {
        let said = aggregate.size_with(key, *hash, data.len());
        let most = aggregate.size() + record_bytes_max(key.len(), data.len(), hash.is_some());
        aggregate.put(key, *hash, data).unwrap();
        assert_eq!(aggregate.size(), said);
        assert!(said <= most, "{said} > {most}");
    }
    aggregate
}

fn encoded(aggregate: &Aggregate<'_>) -> Vec<u8> {
    let mut out = b"before".to_vec();
    aggregate.encode(&mut out);
    let bytes = out.split_off(6);
    assert_eq!((bytes.len(), out.as_slice()), (aggregate.size(), &b"before"[..]));
    bytes
}

#[test]
fn what_was_put_comes_out_and_has_the_size_that_was_said() {
    // Data of every length around the steps of a varint; keys and hash keys that repeat and that do not.
    let long = vec![7; 70_000];
    let keys: Vec<String> = (0..300).map(|at| format!("device-{at}")).collect();
    let mut records = Vec::new();
    for (at, length) in (0..300).zip(
        [0, 1, 100, 119, 120, 121, 122, 123, 124, 125, 126, 127, 128, 16_370, 16_383, 16_384, 70_000]
            .iter()
            .cycle(),
    ) {
        let hash = [
            None,
            Some(0),
            Some(u128::MAX),
            Some(at as u128),
            Some(10_u128.pow(u32::try_from(at % 39).unwrap())),
        ][at % 5];
        records.push((keys[at % 170].as_str(), hash, &long[..*length]));
    }
    let bytes = encoded(&aggregate(&records));
    let read: Vec<_> = deaggregate(&bytes)
        .unwrap()
        .into_iter()
        .map(|record| (record.key, record.hash, record.data))
        .collect();
    assert_eq!(read, records);
    assert_eq!(encoded(&Aggregate::new()).len(), FRAME_BYTES);
}

#[test]
fn what_is_no_aggregate_is_none_and_nothing_of_it_panics() {
    let bytes = encoded(&aggregate(&[("k", Some(5), b"one"), ("l", None, b"two")]));
    assert!(is_aggregate(&bytes));
    for at in 0..bytes.len() {
        assert!(deaggregate(&bytes[..at]).is_none());
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(deaggregate(&changed).is_none(), "{at}");
        // The same with a checksum that is right: an author who means harm.
        for value in 0..=255 {
            changed[at] = value;
            let body = &changed[4..changed.len() - 16];
            let forged = [&MAGIC[..], body, &Md5::digest(body)[..]].concat();
            let _ = deaggregate(&forged);
        }
    }
    let wrong_index =
        [&MAGIC[..], b"\x1a\x04\x08\x05\x1a\x00", &Md5::digest(b"\x1a\x04\x08\x05\x1a\x00")[..]].concat();
    assert!(is_aggregate(&wrong_index) && deaggregate(&wrong_index).is_none());
}

#[test]
fn unknown_fields_tags_and_another_order_are_read() {
    // Record first, tables later; a tag in the record; fields 9 of all kinds.
    let body = b"\x1a\x0d\x08\x00\x1a\x01x\x22\x06\x0a\x01a\x12\x01b\x48\x05\x49\0\0\0\0\0\0\0\0\x4d\0\0\0\0\x4a\x01z\x0a\x01k";
    let bytes = [&MAGIC[..], body, &Md5::digest(body)[..]].concat();
    assert_eq!(deaggregate(&bytes).unwrap(), [UserRecord { key: "k", hash: None, data: b"x" }]);
}

#[test]
fn limits_are_kept() {
    let mut full = Aggregate::new();
    let long = "k".repeat(257);
    assert_eq!(full.put(&long, None, b""), Err(AggregateError::Key { characters: 257 }));
    assert_eq!(full.put("", None, b""), Err(AggregateError::Key { characters: 0 }));
    for _ in 0..limits::AGGREGATE_RECORDS_MAX {
        full.put("k", None, b"").unwrap();
    }
    assert!(matches!(full.put("k", None, b""), Err(AggregateError::Full { .. })));
}
