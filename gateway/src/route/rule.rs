//! One route, and the ordered list of them.
//!
//! In: a topic. Out: the first route whose filter matches it.

use super::codec::Codec;
use super::filter::TopicFilter;
use super::template::Template;

/// The level name that says which device a message of codec `headwater` is from.
pub const DEVICE_LEVEL: &str = "device";

/// Where the publishes of matching topics go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Topics this route is for.
    pub filter: TopicFilter,
    /// How their payloads are read.
    pub codec: Codec,
    /// The shards they go to; `None` for routes that only go to subscribers.
    pub target: Option<Target>,
    /// Whether subscribers get the publish too, after the commit.
    pub downlink: bool,
}

/// A stream and a key in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Name of the stream.
    pub stream: Template,
    /// Partition key of the records: records of one key keep their order.
    pub partition_key: Template,
}

impl Route {
    /// The level of the topic that names the device, counted from 0.
    pub fn device_level(&self) -> Option<usize> {
        self.filter.level_of(DEVICE_LEVEL)
    }
}

/// The first of `routes` that takes `topic`, with its place in the list.
pub fn first_match<'r>(routes: &'r [Route], topic: &str) -> Option<(usize, &'r Route)> {
    routes.iter().enumerate().find(|(_, route)| route.filter.matches(topic))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(filter: &str) -> Route {
        let filter = TopicFilter::parse(filter).unwrap();
        Route { filter, codec: Codec::Raw, target: None, downlink: true }
    }

    #[test]
    fn the_first_match_wins() {
        let routes = [route("a/b"), route("a/+"), route("a/#"), route("+/b")];
        let place = |topic| first_match(&routes, topic).map(|(place, _)| place);
        assert_eq!(place("a/b"), Some(0));
        assert_eq!(place("a/c"), Some(1));
        assert_eq!(place("a/c/d"), Some(2));
        assert_eq!(place("x/b"), Some(3));
        assert_eq!(place("x/c"), None);
    }
}
