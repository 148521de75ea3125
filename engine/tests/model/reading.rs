//! What is read back, beside what the model says is there.

use crate::naive::{Record, Shard};
use crate::world::{World, expected_shard, shard_of};
use serde_json::{Value, json};

/// A shard as ListShards describes it: id, first and last hash key, parents, whether it is closed.
pub(crate) type Listed = (String, u128, u128, Vec<String>, bool);

/// Whether a filter lists a shard.
type Takes<'a> = dyn Fn(&Shard) -> bool + 'a;

impl World {
    /// All shards that a filter lists, over as many pages as it takes.
    pub(crate) async fn list_shards(&mut self, name: &str, filter: Value) -> Vec<Listed> {
        let page = 1 + self.pick(5);
        let mut body = json!({ "StreamName": name, "ShardFilter": filter, "MaxResults": page });
        let mut listed = Vec::new();
        loop {
            let answer = self.call("ListShards", body).await;
            listed.extend(answer["Shards"].as_array().unwrap().iter().map(shard_of));
            let Some(token) = answer["NextToken"].as_str() else { return listed };
            body = json!({ "NextToken": token, "MaxResults": page });
        }
    }

    pub(crate) async fn list(&mut self) {
        let Some(name) = self.a_stream() else { return };
        let now_ms = self.now();
        let stream = &self.naive.streams[&name];
        let horizon = stream.horizon(now_ms);
        let shards: Vec<Shard> = stream.shards.clone();
        let created = shards.iter().map(|shard| shard.opened_ms).min().unwrap();
        let at_ms = created + self.chance.up_to(now_ms - created);
        let seconds = at_ms as f64 / 1_000.0;
        let after = shards[self.pick(shards.len())].id.clone();
        let first = |shard: &Shard| shard.parents.is_empty();
        let open_since =
            |shard: &Shard, at: u64| shard.closed_ms.is_none_or(|closed| closed >= at.max(horizon));
        let opened_by = |shard: &Shard, at: u64| first(shard) || shard.opened_ms <= at.max(horizon);
        let cases: [(Value, Box<Takes>); 6] = [
            (json!({ "Type": "AT_LATEST" }), Box::new(|shard| shard.closed_ms.is_none())),
            (json!({ "Type": "FROM_TRIM_HORIZON" }), Box::new(|shard| open_since(shard, horizon))),
            (
                json!({ "Type": "AT_TRIM_HORIZON" }),
                Box::new(|shard| opened_by(shard, horizon) && open_since(shard, horizon)),
            ),
            (
                json!({ "Type": "AT_TIMESTAMP", "Timestamp": seconds }),
                Box::new(|shard| opened_by(shard, at_ms) && open_since(shard, at_ms)),
            ),
            (
                json!({ "Type": "FROM_TIMESTAMP", "Timestamp": seconds }),
                Box::new(|shard| open_since(shard, at_ms)),
            ),
            (
                json!({ "Type": "AFTER_SHARD_ID", "ShardId": after }),
                Box::new(|shard| shard.id > after && open_since(shard, horizon)),
            ),
        ];
        for (filter, takes) in cases {
            let expected: Vec<_> = shards.iter().filter(|shard| takes(shard)).map(expected_shard).collect();
            let found = self.list_shards(&name, filter.clone()).await;
            assert_eq!(found, expected, "{name} {filter} at {now_ms}");
        }
        let tags = self.call("ListTagsForStream", json!({ "StreamName": name })).await;
        let tags: Vec<_> = tags["Tags"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tag| (tag["Key"].as_str().unwrap().to_owned(), tag["Value"].as_str().unwrap().to_owned()))
            .collect();
        assert_eq!(tags, self.naive.streams[&name].tags.clone().into_iter().collect::<Vec<_>>());
    }

    /// Reads one shard from a random place to its end.
    pub(crate) async fn read_one(&mut self) {
        let Some(name) = self.a_stream() else { return };
        let now_ms = self.now();
        let stream = &self.naive.streams[&name];
        let horizon = stream.horizon(now_ms);
        let listed: Vec<Shard> =
            stream.shards.iter().filter(|shard| stream.is_listed(shard, now_ms)).cloned().collect();
        let shard = listed[self.pick(listed.len())].clone();
        let mut at = json!({ "StreamName": name, "ShardId": shard.id });
        let any = self.pick(shard.records.len() + 1);
        let from = match self.chance.up_to(4) {
            0 => {
                at["ShardIteratorType"] = "LATEST".into();
                shard.records.len()
            }
            1 if any < shard.records.len() => {
                at["ShardIteratorType"] = "AT_SEQUENCE_NUMBER".into();
                at["StartingSequenceNumber"] = shard.records[any].number.as_str().into();
                any
            }
            2 if any < shard.records.len() => {
                at["ShardIteratorType"] = "AFTER_SEQUENCE_NUMBER".into();
                at["StartingSequenceNumber"] = shard.records[any].number.as_str().into();
                any + 1
            }
            3 if any < shard.records.len() => {
                let time_ms = shard.records[any].time_ms;
                at["ShardIteratorType"] = "AT_TIMESTAMP".into();
                at["Timestamp"] = (time_ms as f64 / 1_000.0).into();
                shard.records.iter().position(|record| record.time_ms >= time_ms).unwrap()
            }
            _ => {
                at["ShardIteratorType"] = "TRIM_HORIZON".into();
                0
            }
        };
        let expected: Vec<Record> =
            shard.records[from..].iter().filter(|record| record.time_ms >= horizon).cloned().collect();
        self.compare(&name, &shard, at, expected).await;
    }

    /// Follows an iterator to the end and compares records, how far behind each page is, and what comes after the end.
    async fn compare(&mut self, name: &str, shard: &Shard, at: Value, expected: Vec<Record>) {
        let now_ms = self.now();
        let mut next = self.call("GetShardIterator", at.clone()).await["ShardIterator"].clone();
        let mut found = Vec::new();
        loop {
            let limit = 1 + self.pick(30);
            let page = self.call("GetRecords", json!({ "ShardIterator": next, "Limit": limit })).await;
            let records: Vec<Record> = page["Records"].as_array().unwrap().iter().map(record_of).collect();
            assert!(records.len() <= limit);
            let last = records.last().map(|record| record.time_ms);
            found.extend(records);
            let behind = page["MillisBehindLatest"].as_u64().unwrap();
            let done = found.len() >= expected.len();
            assert_eq!(behind == 0, done, "{at} at {now_ms}: {page}, {} of {expected:?}", found.len());
            if let (Some(last), false) = (last, done) {
                assert_eq!(behind, (now_ms - last).max(1), "{at}");
            }
            next = page["NextShardIterator"].clone();
            if next.is_null() {
                self.check_children(name, shard, &page);
                break;
            }
            assert!(page["ChildShards"].is_null(), "{page}");
            if done && shard.closed_ms.is_none() {
                break;
            }
        }
        let places = |records: &[Record]| -> Vec<_> {
            records.iter().map(|r| (r.number.clone(), r.time_ms)).collect()
        };
        assert_eq!(places(&found), places(&expected), "records of {name} {at} at {now_ms}");
        assert!(found == expected, "keys or data of {name} {at}");
    }

    fn check_children(&self, name: &str, shard: &Shard, page: &Value) {
        assert!(shard.closed_ms.is_some(), "{page}");
        let shards = &self.naive.streams[name].shards;
        let children: Vec<_> = shards
            .iter()
            .filter(|child| child.parents.contains(&shard.id))
            .map(|child| (child.id.clone(), child.start, child.end, child.parents.clone(), false))
            .collect();
        let found: Vec<_> = page["ChildShards"].as_array().unwrap().iter().map(child_of).collect();
        assert_eq!(found, children, "{page}");
    }

    /// Every listed shard of every stream, from its beginning.
    pub(crate) async fn check_everything(&mut self) {
        let now_ms = self.now();
        let mut all = Vec::new();
        for (name, stream) in &self.naive.streams {
            let horizon = stream.horizon(now_ms);
            for shard in stream.shards.iter().filter(|shard| stream.is_listed(shard, now_ms)) {
                let kept = shard.records.iter().filter(|record| record.time_ms >= horizon).cloned().collect();
                all.push((name.clone(), shard.clone(), kept));
            }
        }
        for (name, shard, expected) in all {
            let at = json!({ "StreamName": name, "ShardId": shard.id, "ShardIteratorType": "TRIM_HORIZON" });
            self.compare(&name, &shard, at, expected).await;
        }
    }
}

fn child_of(value: &Value) -> Listed {
    let parents = value["ParentShards"].as_array().unwrap().iter();
    let key = |name: &str| value["HashKeyRange"][name].as_str().unwrap().parse().unwrap();
    (
        value["ShardId"].as_str().unwrap().to_owned(),
        key("StartingHashKey"),
        key("EndingHashKey"),
        parents.map(|parent| parent.as_str().unwrap().to_owned()).collect(),
        false,
    )
}

fn record_of(value: &Value) -> Record {
    let text = |name: &str| value[name].as_str().unwrap_or_else(|| panic!("{value}")).to_owned();
    let seconds = value["ApproximateArrivalTimestamp"].as_f64().unwrap();
    Record {
        number: text("SequenceNumber"),
        key: text("PartitionKey"),
        data: base64_simd::STANDARD.decode_to_vec(text("Data")).unwrap(),
        time_ms: format!("{:.0}", seconds * 1_000.0).parse().unwrap(),
    }
}
