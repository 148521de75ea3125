//! What the gateway knows of each device: what it sent already and its channel tables.
//!
//! In: device ids, and the metadata they were saved as. Out: a [`Device`] to ask and change, and marks to save.
//! Invariants: a change counts only after [`Desk::keep`]; a desk dropped without it leaves everything as it was. Memory
//! holds at most the configured number of devices (plus one call's), the others are read back when they send. At most
//! `saved_max` devices are saved; more than that are remembered only while they are in memory.
//!
//! ```text
//! metadata key            value
//! g/seen/{device}         marks, see `repeats`
//! g/schema/{device}       version 1 | per hello, oldest first: size u16 little endian | hello as a message body
//! ```

use super::limits::SCHEMAS_PER_DEVICE_MAX;
use super::repeats::Seen;
use headwater_telemetry::limits::BODY_BYTES_MAX;
use headwater_telemetry::{DeviceId, Hello, Schema, Up, decode_body, encode_body};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SCHEMAS_VERSION: u8 = 1;

/// What is known of one device.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Device {
    pub(crate) seen: Seen,
    /// The newest last, at most [`SCHEMAS_PER_DEVICE_MAX`].
    hellos: Vec<Arc<Hello>>,
    /// Whether the metadata has it, or will have it with the commit of this call.
    saved: bool,
}

impl Device {
    /// What the saved values say. A value that cannot be read is as none: repeats are stored once more.
    pub(crate) fn restore(seen: Option<&[u8]>, schemas: Option<&[u8]>) -> Device {
        let saved = seen.is_some() || schemas.is_some();
        let seen = seen.and_then(Seen::decode).unwrap_or_default();
        Device { seen, hellos: schemas.and_then(decode_hellos).unwrap_or_default(), saved }
    }

    /// The hello whose channel table readings of `schema` refer to.
    pub(crate) fn hello(&self, schema: Schema) -> Option<Arc<Hello>> {
        self.hellos.iter().find(|hello| hello.schema == schema).cloned()
    }

    /// The hello that came last.
    pub(crate) fn newest(&self) -> Option<Hello> {
        self.hellos.last().map(|hello| Hello::clone(hello))
    }

    /// Keeps the channel table of `hello`; false when it is known.
    pub(crate) fn learn(&mut self, hello: Hello) -> bool {
        if self.hello(hello.schema).is_some() {
            return false;
        }
        if self.hellos.len() == SCHEMAS_PER_DEVICE_MAX {
            self.hellos.remove(0);
        }
        self.hellos.push(Arc::new(hello));
        true
    }

    /// Whether both have the very same channel tables. Every batch asks, so nothing is encoded for it.
    pub(crate) fn has_hellos_of(&self, other: &Device) -> bool {
        let same = |(a, b): (&Arc<Hello>, &Arc<Hello>)| Arc::ptr_eq(a, b);
        self.hellos.len() == other.hellos.len() && self.hellos.iter().zip(&other.hellos).all(same)
    }

    /// The value of `g/schema/{device}`.
    pub(crate) fn encode_hellos(&self) -> Vec<u8> {
        let mut out = vec![SCHEMAS_VERSION];
        for hello in &self.hellos {
            let mut buffer = [0; BODY_BYTES_MAX];
            let message = Up::Hello(Hello::clone(hello));
            // It came in as a body of the same size.
            let body = encode_body(&message, &mut buffer).expect("a hello fits into a body");
            out.extend(u16::try_from(body.len()).expect("a body is smaller than 64 KiB").to_le_bytes());
            out.extend_from_slice(body);
        }
        out
    }
}

fn decode_hellos(bytes: &[u8]) -> Option<Vec<Arc<Hello>>> {
    let (&SCHEMAS_VERSION, mut rest) = bytes.split_first()? else { return None };
    let mut hellos = Vec::new();
    while let Some((size, after)) = rest.split_first_chunk::<2>() {
        let (body, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*size)))?;
        let Ok(Up::Hello(hello)) = decode_body(body) else { return None };
        hellos.push(Arc::new(hello));
        rest = after;
    }
    (rest.is_empty() && hellos.len() <= SCHEMAS_PER_DEVICE_MAX).then_some(hellos)
}

/// The metadata key of a device's marks.
pub(crate) fn seen_key(device: &DeviceId) -> Vec<u8> {
    [b"g/seen/", device.as_str().as_bytes()].concat()
}

/// The metadata key of a device's channel tables.
pub(crate) fn schema_key(device: &DeviceId) -> Vec<u8> {
    [b"g/schema/", device.as_str().as_bytes()].concat()
}

/// Devices in memory. Two generations stand for "recently heard of": who is not heard of while the young one fills
/// leaves with the old one. Finding the longest silent device exactly would cost a list per lookup.
#[derive(Debug)]
pub(crate) struct Devices {
    young: HashMap<DeviceId, Device>,
    old: HashMap<DeviceId, Device>,
    generation_max: usize,
    saved: usize,
    saved_max: usize,
}

impl Devices {
    /// `saved` devices are in the metadata, at most `saved_max` may be: metadata is kept in memory and written whole
    /// with every snapshot, and anybody who may publish can invent device ids.
    pub(crate) fn new(devices_max: usize, saved: usize, saved_max: usize) -> Self {
        let generation_max = devices_max.div_ceil(2).max(1);
        Devices { young: HashMap::new(), old: HashMap::new(), generation_max, saved, saved_max }
    }

    pub(crate) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    fn get(&mut self, id: &DeviceId, load: impl FnOnce() -> Device) -> &mut Device {
        let old = &mut self.old;
        self.young.entry(id.clone()).or_insert_with(|| old.remove(id).unwrap_or_else(load))
    }

    /// Only between calls: within one, what it changed must stay in memory until it is saved.
    fn turn(&mut self) {
        if self.young.len() >= self.generation_max {
            self.old = std::mem::take(&mut self.young);
        }
    }
}

/// One call's access to the devices. The lock is taken with the first device and held until the call is over, so that
/// what was asked and what is staged cannot differ.
pub(crate) struct Desk<'a> {
    devices: &'a Mutex<Devices>,
    load: &'a dyn Fn(&DeviceId) -> Device,
    guard: Option<MutexGuard<'a, Devices>>,
    /// Each device of this call as it was before.
    touched: Vec<(DeviceId, Device)>,
    /// Devices that this call saves for the first time.
    admitted: usize,
}

impl<'a> Desk<'a> {
    pub(crate) fn new(devices: &'a Mutex<Devices>, load: &'a dyn Fn(&DeviceId) -> Device) -> Self {
        Desk { devices, load, guard: None, touched: Vec::new(), admitted: 0 }
    }

    pub(crate) fn device(&mut self, id: &DeviceId) -> &mut Device {
        let devices = self.devices;
        let guard = self.guard.get_or_insert_with(|| devices.lock().unwrap_or_else(PoisonError::into_inner));
        let device = guard.get(id, || (self.load)(id));
        // A call holds few devices, mostly one: a connection is a device or an agent.
        if !self.touched.iter().any(|(touched, _)| touched == id) {
            self.touched.push((id.clone(), device.clone()));
        }
        device
    }

    /// Admits the devices of this call that are new, as far as there is room; returns how many there is none for.
    pub(crate) fn admit(&mut self) -> u64 {
        let Some(devices) = &mut self.guard else { return 0 };
        let (room, mut refused) = (devices.saved_max.saturating_sub(devices.saved), 0);
        for (id, before) in &self.touched {
            let Some(now) = devices.young.get_mut(id) else { continue };
            if now.saved || now == before {
                continue;
            }
            if self.admitted < room {
                now.saved = true;
                self.admitted += 1;
            } else {
                refused += 1;
            }
        }
        refused
    }

    /// Every device of this call that changed and is to be saved, with what it was.
    pub(crate) fn changed(&self) -> impl Iterator<Item = (&DeviceId, &Device, &Device)> {
        self.touched.iter().filter_map(|(id, before)| {
            let now = self.guard.as_ref().and_then(|devices| devices.young.get(id))?;
            (now != before && now.saved).then_some((id, before, now))
        })
    }

    /// The changes are staged: they count.
    pub(crate) fn keep(mut self) {
        self.touched.clear();
        if let Some(devices) = &mut self.guard {
            devices.saved += self.admitted;
        }
    }
}

impl Drop for Desk<'_> {
    fn drop(&mut self) {
        let Some(devices) = &mut self.guard else { return };
        for (id, before) in self.touched.drain(..) {
            devices.young.insert(id, before);
        }
        devices.turn();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::repeats::SeqRange;
    use headwater_telemetry::{BootId, Channel, ResetReason, Seq, ValueKind};

    fn id(n: usize) -> DeviceId {
        DeviceId::parse(&format!("d{n}")).unwrap()
    }

    fn hello(unit: &str) -> Hello {
        let channels = [Channel::new("flow", unit, ValueKind::Fixed, -2).unwrap()].into_iter().collect();
        Hello::new(id(1), BootId(1), "1", ResetReason::Power, channels)
    }

    fn cover(device: &mut Device) {
        device.seen.cover(BootId(1), SeqRange::new(Seq(0), Seq(9)));
    }

    #[test]
    fn what_is_not_kept_never_happened() {
        let devices = Mutex::new(Devices::new(10, 0, 100));
        let load = |_: &DeviceId| Device::default();
        let mut desk = Desk::new(&devices, &load);
        cover(desk.device(&id(1)));
        assert_eq!((desk.admit(), desk.changed().count()), (0, 1));
        drop(desk);

        let mut desk = Desk::new(&devices, &load);
        assert_eq!(*desk.device(&id(1)), Device::default());
        cover(desk.device(&id(1)));
        desk.keep();

        let mut desk = Desk::new(&devices, &load);
        assert_ne!(*desk.device(&id(1)), Device::default());
        assert_eq!(desk.changed().count(), 0);
    }

    #[test]
    fn more_devices_than_may_be_saved_are_counted_and_not_saved() {
        let devices = Mutex::new(Devices::new(10, 1, 3));
        let load = |_: &DeviceId| Device::default();
        for (round, (n, refused)) in (0..).zip([(1, 0), (2, 0), (3, 1), (1, 0)]) {
            let mut desk = Desk::new(&devices, &load);
            desk.device(&id(n)).seen.cover(BootId(1), SeqRange::new(Seq(round), Seq(round)));
            assert_eq!(desk.admit(), refused, "device {n}");
            assert_eq!(desk.changed().count(), 1 - usize::try_from(refused).unwrap());
            desk.keep();
        }
        assert_eq!(devices.lock().unwrap().saved, 3);
    }

    #[test]
    fn memory_is_bounded_and_the_silent_leave() {
        let devices = Mutex::new(Devices::new(10, 0, 100));
        let loads = std::cell::Cell::new(0);
        let load = |_: &DeviceId| {
            loads.set(loads.get() + 1);
            Device::default()
        };
        for n in 0..100 {
            let mut desk = Desk::new(&devices, &load);
            desk.device(&id(0));
            desk.device(&id(n));
            drop(desk);
            assert!(devices.lock().unwrap().len() <= 12);
        }
        // Device 0 was heard of all the time.
        assert_eq!(loads.get(), 100);
    }

    #[test]
    fn channel_tables_survive_their_bytes_and_are_bounded() {
        let mut device = Device::default();
        for n in 0..6 {
            assert!(device.learn(hello(&n.to_string())));
            assert!(!device.learn(hello(&n.to_string())));
        }
        assert_eq!(device.hello(hello("0").schema), None);
        let bytes = device.encode_hellos();
        let restored = Device::restore(None, Some(&bytes));
        device.saved = true;
        assert_eq!(restored, device);
        assert_eq!(restored.hello(hello("5").schema).as_deref(), Some(&hello("5")));
        let unreadable = Device { saved: true, ..Device::default() };
        assert_eq!(Device::restore(Some(b"x"), Some(&bytes[..9])), unreadable);
    }
}
