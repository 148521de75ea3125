//! stub
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    ["PutRecord"].into_iter()
}
