//! A door for the fuzz targets: receipt handles and paging tokens. Only with the feature `fuzzing`.

use super::handle;

/// Handles and tokens, from text as it came and with the check made right: what is read is written again as it was read.
///
/// # Panics
/// When it is not.
pub(crate) fn handles(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    // The number of the queue stands behind the kind.
    let queue =
        bytes.get(1..5).and_then(|queue| queue.first_chunk()).map_or(0, |queue| u32::from_be_bytes(*queue));
    for text in [&*text, &handle::seal(bytes.to_vec())] {
        if let Some(receipt) = handle::open_receipt(queue, text) {
            assert_eq!(handle::seal_receipt(queue, &receipt), text);
        }
        for now_ms in [0, u64::MAX] {
            drop(handle::open_page(text, now_ms));
        }
    }
}
