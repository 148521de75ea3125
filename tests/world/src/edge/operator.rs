//! Who gives devices commands, over the gateway, and waits for their results.
//!
//! In: ticks, results that the gateway took. Out: commands, again until they are answered and now and then after that, the first broken
//! promise. Held: a device starts anew at most once for each reboot that it was told, and says so, and for no other reason; each command
//! is answered, each answer is of a command that was given, and is the first one; a period that was ordered holds, also after a power cut.
//! Not here: how commands come down (gateway, agent, line), what a device does with them (the device core).

use super::network::due;
use crate::chance::Chance;
use crate::front::Front;
use crate::inhabitant::{Broken, Moment, Phase};
use crate::trace::Trace;
use headwater_sim::virtual_time::simulation::Fleet;
use headwater_telemetry::limits::BODY_BYTES_MAX;
use headwater_telemetry::{Command, CommandId, CommandOutcome, CommandResult, Down, Order, encode_body};
use std::collections::BTreeMap;
use std::ops::Range;

/// Commands of one device without a result: fewer than it remembers.
const OPEN_MAX: usize = 3;
/// Of the last so many one comes again although it was answered: a device remembers twice as many.
const LAST: u64 = 4;
/// The longest time until an open command is given again, ms.
const AGAIN_MS_MAX: u64 = 6_000;
/// Periods that are ordered, ms.
const PERIODS_MS: [u32; 3] = [300, 900, 2_700];
/// A boot shows its period when it lasted so many.
const PERIODS_SHOWN: u32 = 4;

/// See the module.
pub(super) struct Operator {
    chance: Chance,
    every_ms: u64,
    next_at_ms: u64,
    devices: Vec<Device>,
    /// Devices lose power now and then.
    has_power_cuts: bool,
}

#[derive(Default)]
struct Device {
    /// In the order in which they were given.
    given: Vec<Given>,
    again_at_ms: u64,
}

struct Given {
    command: Command,
    at_ms: u64,
    /// When its result was seen first.
    done_at_ms: Option<u64>,
}

impl Operator {
    pub(super) fn new(mut chance: Chance, every_ms: u64, devices: usize, has_power_cuts: bool) -> Self {
        let next_at_ms = due(&mut chance, 0, every_ms);
        let devices = (0..devices).map(|_| Device::default()).collect();
        Self { chance, every_ms, next_at_ms, devices, has_power_cuts }
    }

    pub(super) fn tick(
        &mut self,
        moment: Moment,
        fleet: &Fleet,
        front: &Front,
        trace: &mut Trace,
    ) -> Result<(), Broken> {
        let now_ms = moment.world_ms;
        if moment.phase == Phase::Stormy && now_ms >= self.next_at_ms {
            self.next_at_ms = due(&mut self.chance, now_ms, self.every_ms);
            self.give(now_ms, front, trace);
        }
        for index in 0..self.devices.len() {
            if now_ms >= self.devices[index].again_at_ms {
                self.give_again(index, now_ms, front, trace);
            }
            if now_ms.is_multiple_of(100) {
                self.check_restarts(index, fleet)?;
            }
        }
        Ok(())
    }

    fn give(&mut self, now_ms: u64, front: &Front, trace: &mut Trace) {
        let chance = &mut self.chance;
        let index = usize::try_from(chance.below(self.devices.len() as u64)).unwrap_or(0);
        let device = &mut self.devices[index];
        if device.given.iter().filter(|given| given.done_at_ms.is_none()).count() >= OPEN_MAX {
            return;
        }
        let order = match chance.below(4) {
            0 => Order::Identify,
            1 => Order::Reboot,
            _ => Order::Period { channel: None, period_ms: *chance.pick(&PERIODS_MS) },
        };
        let id = CommandId(u32::try_from(chance.draw() >> 32).unwrap_or(0));
        let command = Command { id, order };
        trace.note(now_ms, format_args!("{} is told {command:?}", Fleet::name(index)));
        send(index, &command, front);
        device.given.push(Given { command, at_ms: now_ms, done_at_ms: None });
        device.again_at_ms = now_ms + 1 + chance.below(AGAIN_MS_MAX);
    }

    fn give_again(&mut self, index: usize, now_ms: u64, front: &Front, trace: &mut Trace) {
        let (chance, device) = (&mut self.chance, &mut self.devices[index]);
        device.again_at_ms = now_ms + 1 + chance.below(AGAIN_MS_MAX);
        let back = usize::try_from(chance.below(LAST)).unwrap_or(0);
        let is_told_again = chance.one_in(3);
        let place = device.given.len().checked_sub(back + 1);
        for (at, given) in device.given.iter().enumerate() {
            if given.done_at_ms.is_none() || (is_told_again && Some(at) == place) {
                trace.note(
                    now_ms,
                    format_args!("{} is told {:?} again", Fleet::name(index), given.command.id),
                );
                send(index, &given.command, front);
            }
        }
    }

    /// The gateway took a result.
    pub(super) fn handle_result(
        &mut self,
        name: &str,
        result: CommandResult,
        now_ms: u64,
        trace: &mut Trace,
    ) -> Result<(), Broken> {
        let device = (0..self.devices.len()).find(|index| Fleet::name(*index) == name);
        let given = device.and_then(|index| {
            self.devices[index].given.iter_mut().find(|given| given.command.id == result.id)
        });
        let Some(given) = given else {
            return Err(Broken(format!("{name} answers a command that nobody gave: {result:?}")));
        };
        // What is given here can be done, so another answer would be one that was changed.
        if result.outcome != CommandOutcome::Done {
            return Err(Broken(format!("{name} answers {:?} with {:?}", given.command, result.outcome)));
        }
        if given.done_at_ms.is_none() {
            trace.note(now_ms, format_args!("{name} has done {:?}", result.id));
            given.done_at_ms = Some(now_ms);
        }
        Ok(())
    }

    fn check_restarts(&self, index: usize, fleet: &Fleet) -> Result<(), Broken> {
        let (restarts, asked) = (fleet.restarts(index).len(), self.reboots(index));
        if restarts > asked {
            let name = Fleet::name(index);
            return Err(Broken(format!(
                "{name} started anew {restarts} times because it was told to {asked} times"
            )));
        }
        Ok(())
    }

    fn reboots(&self, index: usize) -> usize {
        let given = self.devices[index].given.iter();
        given.filter(|given| given.command.order == Order::Reboot).count()
    }

    /// Whether all is done that was asked for.
    pub(super) fn is_drained(&self, fleet: &Fleet) -> bool {
        let is_answered = |device: &Device| device.given.iter().all(|given| given.done_at_ms.is_some());
        self.devices.iter().all(is_answered)
            && (0..self.devices.len()).all(|index| self.is_restarted(index, fleet))
    }

    /// Whether a device started anew after each reboot that it was told. Two that come together are one start; a power cut between the
    /// answer and the restart is a start as well.
    fn is_restarted(&self, index: usize, fleet: &Fleet) -> bool {
        let last = fleet.restarts(index).last().map_or(0, |(_, at_ms)| *at_ms);
        let mut given = self.devices[index].given.iter();
        self.has_power_cuts || given.all(|given| given.command.order != Order::Reboot || given.at_ms < last)
    }

    /// Commands that were given.
    pub(super) fn counts(&self) -> u64 {
        self.devices.iter().map(|device| device.given.len() as u64).sum()
    }

    /// Holds what devices said of their starts, by name and boot, against why they started.
    pub(super) fn check_births(
        &self,
        fleet: &Fleet,
        births: &BTreeMap<(String, u32), bool>,
    ) -> Result<(), Broken> {
        for index in 0..self.devices.len() {
            let (name, restarts) = (Fleet::name(index), fleet.restarts(index));
            let of_device = births.iter().filter(|((of, _), _)| *of == name);
            for ((_, boot), says_so) in of_device {
                if *says_so != restarts.iter().any(|(restarted, _)| restarted == boot) {
                    return Err(Broken(format!(
                        "{name} boot {boot} says that it was asked for: {says_so}; those that were: {restarts:?}"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Each boot keeps to the period that was ordered last. Gives how many did that began after the order.
    pub(super) fn check_periods(&self, fleet: &Fleet, channels: u32) -> Result<u64, Broken> {
        let mut shown = 0;
        for (index, device) in self.devices.iter().enumerate() {
            let boots = fleet.taken(index);
            for (span, period_ms) in device.periods() {
                for (boot, taken) in &boots {
                    let is_in = |taken: &&u32| span.contains(&u64::from(**taken));
                    let found: Vec<u32> = taken.iter().filter(is_in).copied().collect();
                    let (Some(first), Some(last)) = (found.first(), found.last()) else { continue };
                    let rounds = (last - first) / period_ms;
                    if rounds < PERIODS_SHOWN {
                        continue;
                    }
                    shown += u64::from(taken.first() == Some(first));
                    let (found, expected) = (found.len() as u64, u64::from(rounds * channels));
                    if found.abs_diff(expected) > expected / 3 + u64::from(channels) {
                        return Err(Broken(format!(
                            "{} boot {boot} took {found} readings in {} ms, told one of {channels} channels each {period_ms} ms",
                            Fleet::name(index),
                            last - first
                        )));
                    }
                }
            }
        }
        Ok(shown)
    }

    /// Whether a record of a device is a result; one of a command that nobody gave is a broken promise.
    pub(super) fn check_stored(&self, name: &str, data: &[u8]) -> Result<Option<CommandId>, Broken> {
        let Ok(record) = serde_json::from_slice::<serde_json::Value>(data) else { return Ok(None) };
        if record.get("kind").and_then(serde_json::Value::as_str) != Some("command_result") {
            return Ok(None);
        }
        let id = record.get("id").and_then(serde_json::Value::as_u64).and_then(|id| u32::try_from(id).ok());
        let outcome = record.get("outcome").and_then(serde_json::Value::as_str);
        let device = self.devices.iter().enumerate().find(|(index, _)| Fleet::name(*index) == name);
        let is_given =
            device.is_some_and(|(_, device)| device.given.iter().any(|given| Some(given.command.id.0) == id));
        match id.filter(|_| is_given && outcome == Some("done")) {
            Some(id) => Ok(Some(CommandId(id))),
            None => Err(Broken(format!("{name} has a result of nothing that it was told: {record}"))),
        }
    }

    /// Every command that was given has a result in the streams.
    pub(super) fn check_all_stored(&self, stored: &BTreeMap<String, Vec<CommandId>>) -> Result<(), Broken> {
        for (index, device) in self.devices.iter().enumerate() {
            let name = Fleet::name(index);
            let results = stored.get(&name).map_or(&[][..], Vec::as_slice);
            if let Some(given) = device.given.iter().find(|given| !results.contains(&given.command.id)) {
                return Err(Broken(format!("the result of {:?} for {name} is not stored", given.command)));
            }
        }
        Ok(())
    }
}

impl Device {
    /// From when to when which period surely holds: from the result of an order, if nothing given before it was still open then, to the
    /// next order.
    fn periods(&self) -> Vec<(Range<u64>, u32)> {
        let orders: Vec<(&Given, u32)> = self.given.iter().filter_map(Given::period).collect();
        let mut open_until_ms = 0;
        let mut spans = Vec::new();
        for (place, (given, period_ms)) in orders.iter().enumerate() {
            let done_at_ms = given.done_at_ms.unwrap_or(u64::MAX);
            let end_ms = orders.get(place + 1).map_or(u64::MAX, |(next, _)| next.at_ms);
            if open_until_ms < given.at_ms && done_at_ms < end_ms {
                spans.push((done_at_ms..end_ms, *period_ms));
            }
            open_until_ms = open_until_ms.max(done_at_ms);
        }
        spans
    }
}

impl Given {
    fn period(&self) -> Option<(&Self, u32)> {
        match self.command.order {
            Order::Period { period_ms, .. } => Some((self, period_ms)),
            _ => None,
        }
    }
}

/// What becomes of it, nobody is told.
fn send(index: usize, command: &Command, front: &Front) {
    let mut buffer = [0; BODY_BYTES_MAX];
    if let Ok(body) = encode_body(&Down::Command(command.clone()), &mut buffer) {
        front.command(&Fleet::name(index), body);
    }
}
