//! Things under small numbers that are used again.

/// Number of nothing: the end of a list.
pub(super) const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    pub(super) fn insert(&mut self, thing: T) -> u32 {
        if let Some(index) = self.free.pop() {
            self.places[index as usize] = Some(thing);
            return index;
        }
        let index = u32::try_from(self.places.len()).expect("memory is bounded far below 2^32 records");
        self.places.push(Some(thing));
        index
    }

    pub(super) fn get(&self, index: u32) -> &T {
        self.places[index as usize].as_ref().expect("an index is used only while its thing is there")
    }

    pub(super) fn get_mut(&mut self, index: u32) -> &mut T {
        self.places[index as usize].as_mut().expect("an index is used only while its thing is there")
    }

    pub(super) fn remove(&mut self, index: u32) -> T {
        self.free.push(index);
        self.places[index as usize].take().expect("an index is used only while its thing is there")
    }

    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(super) fn each(&self) -> impl Iterator<Item = &T> {
        self.places.iter().flatten()
    }
}
