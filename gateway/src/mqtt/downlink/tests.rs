//! The bus on its own: who gets what, and what happens when it dies.

use super::*;
use crate::mqtt::limits::Limits;
use crate::mqtt::reason::Reason;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

fn filter(text: &str) -> TopicFilter {
    TopicFilter::parse(text).unwrap()
}

fn downlink() -> Downlink {
    Downlink::new(&Limits::default())
}

async fn next(attachment: &mut Attachment) -> (u32, Arc<Message>) {
    match tokio::time::timeout(PATIENCE, attachment.recv()).await.expect("a delivery") {
        Delivery::Message { tag, message } => (tag, message),
        Delivery::Lost => panic!("the bus is gone"),
    }
}

async fn assert_silent(attachment: &mut Attachment) {
    assert!(tokio::time::timeout(Duration::from_millis(100), attachment.recv()).await.is_err());
}

#[tokio::test]
async fn messages_reach_the_subscriptions_they_match_unchanged() {
    let downlink = downlink();
    let mut one = downlink.attach();
    one.subscribe(&filter("a/+"), 1).await.unwrap();
    one.subscribe(&filter("émission/#"), 2).await.unwrap();
    let message = Message {
        topic: "a/b".into(),
        payload: Bytes::from_static(b"x"),
        qos: 2,
        retain: true,
        properties: PublishProperties {
            utf8: true,
            message_expiry_s: Some(60),
            content_type: Some("t".into()),
            response_topic: Some("r".into()),
            correlation_data: Some("c".into()),
            user: vec![("k".into(), "v".into())],
        },
        publisher: 7,
        expires: Some(Instant::now() + Duration::from_secs(60)),
    };
    downlink.forward(message.clone()).unwrap();
    let (tag, got) = next(&mut one).await;
    assert_eq!((tag, got.topic.as_str(), got.qos, got.retain, got.publisher), (1, "a/b", 2, true, 7));
    assert_eq!((&got.payload, &got.properties.user), (&message.payload, &message.properties.user));
    assert_eq!(got.properties.response_topic, message.properties.response_topic);
    assert!(got.expires_in_s(Instant::now()).is_some_and(|left| (58..=60).contains(&left)));
    downlink.publish("émission/t", "", false, 0).unwrap();
    assert_eq!(next(&mut one).await.0, 2);
    downlink.publish("other", "x", false, 0).unwrap();
    assert_silent(&mut one).await;
}

#[tokio::test]
async fn wildcards_at_the_start_leave_dollar_topics_alone() {
    let downlink = downlink();
    let mut all = downlink.attach();
    all.subscribe(&filter("#"), 1).await.unwrap();
    let mut system = downlink.attach();
    system.subscribe(&filter("$SYS/#"), 1).await.unwrap();
    downlink.publish("$SYS/uptime", "1", false, 0).unwrap();
    downlink.publish("a", "1", false, 0).unwrap();
    assert_eq!(next(&mut all).await.1.topic, "a");
    assert_eq!(next(&mut system).await.1.topic, "$SYS/uptime");
}

#[tokio::test]
async fn shared_subscriptions_deal_and_ordinary_ones_repeat() {
    let downlink = downlink();
    let (mut one, mut two) = (downlink.attach(), downlink.attach());
    for member in [&mut one, &mut two] {
        member.subscribe(&filter("$share/g/a"), 1).await.unwrap();
        member.subscribe(&filter("b"), 2).await.unwrap();
        // Unsubscribing something else leaves the group alone.
        member.subscribe(&filter("c"), 3).await.unwrap();
        member.unsubscribe(&filter("c"), 3);
    }
    // The same group name with another filter is another group.
    two.subscribe(&filter("$share/g/z"), 4).await.unwrap();
    for _ in 0..10 {
        downlink.publish("a", "x", false, 0).unwrap();
    }
    let mut count = 0;
    for member in [&mut one, &mut two] {
        while let Ok(Delivery::Message { tag, .. }) =
            tokio::time::timeout(Duration::from_millis(200), member.recv()).await
        {
            assert_eq!(tag, 1);
            count += 1;
        }
    }
    assert_eq!(count, 10);
    // A member leaves in the middle: the other gets everything.
    drop(one);
    tokio::time::sleep(Duration::from_millis(50)).await;
    downlink.publish("a", "x", false, 0).unwrap();
    downlink.publish("a", "x", false, 0).unwrap();
    assert_eq!((next(&mut two).await.0, next(&mut two).await.0), (1, 1));
}

#[tokio::test]
async fn a_slow_subscriber_holds_nobody_up() {
    let downlink = Downlink::new(&Limits { bus_filter_bytes: 64 * 1024, ..Limits::default() });
    let (mut slow, mut fast) = (downlink.attach(), downlink.attach());
    slow.subscribe(&filter("a"), 1).await.unwrap();
    fast.subscribe(&filter("#"), 1).await.unwrap();
    for _ in 0..5 {
        for _ in 0..100 {
            downlink.publish("a", vec![0; 1000], false, 0).unwrap();
        }
        let mut got = 0;
        while tokio::time::timeout(Duration::from_millis(300), fast.recv()).await.is_ok() {
            got += 1;
        }
        assert!(got > 0);
    }
    // The slow one is behind, but still gets what is left.
    for _ in 0..50 {
        next(&mut slow).await;
    }
}

#[tokio::test]
async fn a_dead_bus_is_told_to_subscribers_and_started_again() {
    let downlink = downlink();
    let mut old = downlink.attach();
    old.subscribe(&filter("a"), 1).await.unwrap();
    downlink.publish("kept", "x", true, 0).unwrap();
    downlink.kill_bus();
    let lost = tokio::time::timeout(PATIENCE, old.recv()).await.expect("told so");
    assert!(matches!(lost, Delivery::Lost));
    // Publishing meanwhile is no error, and the next subscriber finds a living bus and the retained messages.
    downlink.publish("a", "x", false, 0).unwrap();
    let mut new = downlink.attach();
    new.subscribe(&filter("a"), 1).await.unwrap();
    downlink.publish("a", "y", false, 0).unwrap();
    assert_eq!(next(&mut new).await.1.payload, "y");
    assert_eq!(downlink.retained("kept").as_deref(), Some(&b"x"[..]));
    assert_eq!(downlink.counters().snapshot().bus_renewals, 1);
}

#[tokio::test]
async fn the_bus_is_renewed_before_it_has_seen_too_much() {
    let downlink = Downlink::new(&Limits { bus_topics: 10, bus_filters: 10, ..Limits::default() });
    let mut one = downlink.attach();
    one.subscribe(&filter("#"), 1).await.unwrap();
    let mut lost = false;
    for topic in 0..20 {
        downlink.publish(&format!("t{topic}"), "x", false, 0).unwrap();
    }
    while let Ok(delivery) = tokio::time::timeout(PATIENCE, one.recv()).await {
        if matches!(delivery, Delivery::Lost) {
            lost = true;
            break;
        }
    }
    assert!(lost);
    for number in 0..25 {
        let mut attachment = downlink.attach();
        attachment.subscribe(&filter(&format!("f{number}")), 1).await.unwrap();
        downlink.publish(&format!("f{number}"), "x", false, 0).unwrap();
    }
    assert!(downlink.counters().snapshot().bus_renewals >= 2);
}

#[tokio::test]
async fn one_subscriber_cannot_fill_the_bus_with_filters() {
    let downlink = Downlink::new(&Limits { subscribers: 5, bus_filters: 10, ..Limits::default() });
    let mut one = downlink.attach();
    for number in 0..10 {
        let filter = filter(&format!("f{number}"));
        one.subscribe(&filter, 1).await.unwrap();
        one.unsubscribe(&filter, 1);
    }
    one.subscribe(&filter("f0"), 1).await.unwrap();
    assert!(one.subscribe(&filter("f10"), 1).await.is_err());
    let told = tokio::time::timeout(PATIENCE, one.recv()).await;
    assert!(matches!(told, Ok(Delivery::Lost)), "{told:?}");
    // Who comes back finds it empty.
    let mut again = downlink.attach();
    again.subscribe(&filter("f10"), 1).await.unwrap();
    downlink.publish("f10", "x", false, 0).unwrap();
    assert_eq!(next(&mut again).await.1.payload, "x");
    assert_eq!(downlink.counters().snapshot().bus_renewals, 1);
}

#[tokio::test]
async fn subscribers_are_limited_and_leaving_makes_room() {
    let downlink = Downlink::new(&Limits { subscribers: 2, ..Limits::default() });
    let (mut one, mut two, mut three) = (downlink.attach(), downlink.attach(), downlink.attach());
    one.subscribe(&filter("a"), 1).await.unwrap();
    one.subscribe(&filter("b"), 2).await.unwrap();
    two.subscribe(&filter("$share/g/a"), 1).await.unwrap();
    assert_eq!(three.subscribe(&filter("a"), 1).await, Err(Reason::QuotaExceeded));
    assert_eq!(
        one.subscribe(&filter("$share/g/a"), 3).await,
        Err(Reason::QuotaExceeded),
        "it needs a link of its own"
    );
    assert!(three.is_idle() && !one.is_idle());
    two.unsubscribe(&filter("$share/g/a"), 1);
    three.subscribe(&filter("a"), 1).await.unwrap();
    downlink.publish("a", "x", false, 0).unwrap();
    assert_eq!(next(&mut three).await.1.payload, "x");
}

#[tokio::test]
async fn more_may_subscribe_while_the_bus_lives_each_with_a_filter_of_its_own() {
    let downlink = Downlink::new(&Limits { subscribers: 1, bus_filters: 1, ..Limits::default() });
    let mut one = downlink.attach();
    one.subscribe(&filter("one"), 1).await.unwrap();
    downlink.limit(&Limits { subscribers: 40, ..Limits::default() });
    let mut others: Vec<_> = (0..39).map(|_| downlink.attach()).collect();
    for (number, other) in others.iter_mut().enumerate() {
        other.subscribe(&filter(&format!("f{number}")), 1).await.unwrap();
    }
    assert_eq!(downlink.attach().subscribe(&filter("one"), 1).await, Err(Reason::QuotaExceeded));
    downlink.publish("one", "x", false, 0).unwrap();
    downlink.publish("f38", "y", false, 0).unwrap();
    assert_eq!(next(&mut one).await.1.payload, "x");
    assert_eq!(next(&mut others[38]).await.1.payload, "y");
    assert_eq!(downlink.counters().snapshot().bus_renewals, 0);
}

#[tokio::test]
async fn names_of_links_are_used_again() {
    let downlink = downlink();
    for _ in 0..200 {
        let mut attachment = downlink.attach();
        attachment.subscribe(&filter("a"), 1).await.unwrap();
        downlink.publish("a", "x", false, 0).unwrap();
        assert_eq!(next(&mut attachment).await.1.payload, "x");
    }
    assert_eq!(downlink.counters().snapshot().bus_renewals, 0);
}

#[test]
fn what_cannot_be_published_is_refused() {
    let downlink = downlink();
    assert_eq!(downlink.publish("a/#", "x", false, 0), Err(PublishError::Topic));
    assert_eq!(downlink.publish("", "x", false, 0), Err(PublishError::Topic));
    assert_eq!(downlink.publish("a", "x", false, 3), Err(PublishError::Qos));
    assert_eq!(downlink.publish("a", "x", true, 1), Ok(()));
    assert_eq!(downlink.publish("a", "", true, 1), Ok(()));
    assert_eq!(downlink.retained("a"), None);
}
