//! The AWS SDK for Rust against an endpoint: `kinesis-rust-client ENDPOINT h1|h2 [test name ...]`. Each test is a claim; one line says how it
//! ended. `h1` is the SDK's own HTTP client, `h2` the SDK on a connection with prior knowledge of HTTP/2.
//! In: the endpoint. Out: lines on standard output, exit code 1 when a test failed.
//! Not here: which protocol really went over the wire; the system test looks at the bytes itself.

mod fanout;
mod flow;
mod h2c;
mod subject;

use std::pin::Pin;
use std::process::ExitCode;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{BehaviorVersion, Config, Credentials, Region, retry::RetryConfig};
use subject::Failure;

/// A client with credentials that no account has; nothing is retried, so that every failure shows.
fn client(endpoint: &str, protocol: &str) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .retry_config(RetryConfig::disabled());
    let config = match protocol {
        "h2" => config.http_client(h2c::PriorKnowledge),
        _ => config.http_client(aws_smithy_http_client::Builder::new().build_http()),
    };
    Client::from_conf(config.build())
}

/// A claim under its name, not looked at yet.
type Claim<'a> = (&'static str, Pin<Box<dyn Future<Output = Result<(), Failure>> + 'a>>);

fn claims(client: &Client) -> [Claim<'_>; 6] {
    [
        ("what_is_put_is_read_back_in_order", Box::pin(flow::what_is_put_is_read_back_in_order(client))),
        ("errors_have_their_types", Box::pin(flow::errors_have_their_types(client))),
        ("tags_are_kept", Box::pin(flow::tags_are_kept(client))),
        ("a_split_is_followed_to_the_end", Box::pin(flow::a_split_is_followed_to_the_end(client))),
        ("a_subscription_gives_records_as_they_come", Box::pin(fanout::records_as_they_come(client))),
        ("a_subscription_ends_with_the_children", Box::pin(fanout::the_end_of_a_shard(client))),
    ]
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(endpoint), Some(protocol)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: kinesis-rust-client ENDPOINT h1|h2 [test name ...]");
        return ExitCode::from(64);
    };
    let wanted: Vec<String> = arguments.collect();
    let client = client(&endpoint, &protocol);
    let (mut ran, mut failed) = (0, 0);
    for (name, claim) in claims(&client) {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted == name) {
            continue;
        }
        ran += 1;
        match claim.await {
            Ok(()) => println!("ok {name}"),
            Err(failure) => {
                failed += 1;
                println!("FAILED {name}\n{failure}");
            }
        }
    }
    println!("{ran} tests, {failed} failed");
    if ran > 0 && failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
