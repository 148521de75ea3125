"""Queues: records received one by one, acknowledged, hidden, and set aside as dead letters."""

import datetime
import time
import uuid

from support import arn_of, client_of, fresh, loose, refused, test

MISSING = "arn:aws:kinesis:us-east-1:000000000000:queue/018bcfe56800-0000ffff"


def on_demand(kinesis):
    name = "s-" + uuid.uuid4().hex[:12]
    kinesis.create_stream(StreamName=name, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    return arn_of(name)


def described(kinesis, stream, start="TRIM_HORIZON", name=None, attributes=None, timestamp=None, **more):
    position = {"Type": start} | ({"Timestamp": timestamp} if timestamp is not None else {})
    return kinesis.create_queue(
        QueueName=name or "q-" + uuid.uuid4().hex[:12],
        StreamConfigurationList=[{"StreamARN": stream, "StartingPosition": position}],
        QueueAttributes=attributes or {},
        **more,
    )["QueueDescription"]


def queue_of(kinesis, stream, **more):
    return described(kinesis, stream, **more)["QueueARN"]


def put(kinesis, stream, *texts):
    records = [{"Data": text.encode(), "PartitionKey": text} for text in texts]
    assert kinesis.put_records(StreamARN=stream, Records=records)["FailedRecordCount"] == 0


def receive(kinesis, queue, wait=1, **more):
    return kinesis.receive_queue_records(QueueARN=queue, WaitTimeSeconds=wait, **more)["QueueRecords"]


def letters(kinesis, queue, wait=1, **more):
    return kinesis.receive_dead_letter_queue_records(QueueARN=queue, WaitTimeSeconds=wait, **more)["QueueRecords"]


def drain(kinesis, queue, count):
    found = []
    while len(found) < count:
        records = receive(kinesis, queue, wait=2)
        assert records, (len(found), count)
        found += records
    return found


def entries(records, **more):
    return [{"ReceiptHandle": record["ReceiptHandle"]} | more for record in records]


def texts(records):
    return sorted(record["Data"].decode() for record in records)


def handles(found):
    return [entry["ReceiptHandle"] for entry in found]


def dead_letter(kinesis, stream, text="x", **more):
    """A queue over a stream with one record, which is a dead letter already."""
    put(kinesis, stream, text)
    config = {"TargetType": "BUILT_IN", "MaxReceiveCount": 1}
    queue = queue_of(kinesis, stream, attributes={"VisibilityTimeoutSeconds": 0, "DeadLetterConfiguration": config})
    assert len(receive(kinesis, queue)) == 1
    return queue


@test
def a_queue_is_described_as_it_was_made(kinesis):
    stream = on_demand(kinesis)
    made = described(kinesis, stream, name="orders-" + uuid.uuid4().hex, Tags={"team": "a"})
    assert made["QueueStatus"] == "CREATING" and made["QueueName"].startswith("orders-"), made
    assert made["QueueARN"].startswith("arn:aws:kinesis:us-east-1:000000000000:queue/"), made
    assert "Timestamp" not in made["StreamConfigurationList"][0]["StartingPosition"], made
    found = kinesis.describe_queue(QueueARN=made["QueueARN"])["QueueDescription"]
    assert found["QueueStatus"] == "ACTIVE", found
    assert found["QueueAttributes"] == {
        "VisibilityTimeoutSeconds": 30,
        "DeadLetterConfiguration": {"TargetType": "BUILT_IN", "MaxReceiveCount": 6},
    }, found
    [configuration] = found["StreamConfigurationList"]
    assert configuration["StreamARN"] == stream and configuration["StartingPosition"]["Type"] == "TRIM_HORIZON"
    assert configuration["StartingPosition"]["Timestamp"] <= found["QueueCreationTimestamp"], found
    assert kinesis.describe_stream_summary(StreamARN=stream)["StreamDescriptionSummary"]["QueueCount"] == 1
    tags = kinesis.list_tags_for_resource(ResourceARN=made["QueueARN"])["Tags"]
    assert tags == [{"Key": "team", "Value": "a"}], tags
    kinesis.tag_resource(ResourceARN=made["QueueARN"], Tags={"b": "c"})
    kinesis.untag_resource(ResourceARN=made["QueueARN"], TagKeys=["team"])
    tags = kinesis.list_tags_for_resource(ResourceARN=made["QueueARN"])["Tags"]
    assert tags == [{"Key": "b", "Value": "c"}], tags


@test
def defaults_are_the_models(kinesis):
    stream = on_demand(kinesis)
    made = kinesis.create_queue(QueueName="d-" + uuid.uuid4().hex, StreamConfigurationList=[{"StreamARN": stream}])
    found = kinesis.describe_queue(QueueARN=made["QueueDescription"]["QueueARN"])["QueueDescription"]
    assert found["StreamConfigurationList"][0]["StartingPosition"]["Type"] == "LATEST", found
    config = {"TargetType": "NONE"}
    queue = queue_of(kinesis, stream, attributes={"VisibilityTimeoutSeconds": 7, "DeadLetterConfiguration": config})
    found = kinesis.describe_queue(QueueARN=queue)["QueueDescription"]["QueueAttributes"]
    assert found == {"VisibilityTimeoutSeconds": 7, "DeadLetterConfiguration": config}, found


@test
def a_queue_that_cannot_be_is_refused(kinesis):
    stream, raw = on_demand(kinesis), loose(kinesis)
    one = [{"StreamARN": stream}]
    name = "taken-" + uuid.uuid4().hex
    described(kinesis, stream, name=name)
    make = raw.create_queue
    refused("ResourceInUseException", make, name, QueueName=name, StreamConfigurationList=one)
    refused("ValidationException", make, "exactly one", QueueName="x", StreamConfigurationList=one * 2)
    refused("ValidationException", make, "streamConfigurationList", QueueName="x", StreamConfigurationList=[])
    refused("ValidationException", make, "queueName", QueueName="a b", StreamConfigurationList=one)
    refused("ValidationException", make, "queueName", StreamConfigurationList=one)
    nowhere = [{"StreamARN": arn_of("nowhere")}]
    refused("ResourceNotFoundException", make, "nowhere", QueueName="x", StreamConfigurationList=nowhere)
    provisioned = [{"StreamARN": arn_of(fresh(kinesis))}]
    refused("ValidationException", make, "on-demand", QueueName="x", StreamConfigurationList=provisioned)

    def at(position):
        return [{"StreamARN": stream, "StartingPosition": position}]

    now = time.time()
    for position, text in [
        ({"Type": "AT_TIMESTAMP"}, "required"),
        ({"Type": "LATEST", "Timestamp": now}, "only when"),
        ({"Type": "TRIM_HORIZON", "Timestamp": now}, "only when"),
        ({"Type": "SOMEWHERE"}, "enum value set"),
        ({}, "type"),
    ]:
        refused("ValidationException", make, text, QueueName="x", StreamConfigurationList=at(position))
    for attributes, text in [
        ({"VisibilityTimeoutSeconds": 43201}, "43200"),
        ({"VisibilityTimeoutSeconds": -1}, "visibilityTimeoutSeconds"),
        ({"DeadLetterConfiguration": {"TargetType": "BUILT_IN"}}, "required"),
        ({"DeadLetterConfiguration": {"TargetType": "NONE", "MaxReceiveCount": 3}}, "only when"),
        ({"DeadLetterConfiguration": {"TargetType": "BUILT_IN", "MaxReceiveCount": 1001}}, "1000"),
        ({"DeadLetterConfiguration": {"MaxReceiveCount": 3}}, "targetType"),
    ]:
        refused("ValidationException", make, text, QueueName="x", StreamConfigurationList=one, QueueAttributes=attributes)
    tags = {f"k{i}": "v" for i in range(51)}
    refused("ValidationException", make, "50", QueueName="x", StreamConfigurationList=one, Tags=tags)
    reserved = {"aws:x": "v"}
    refused("InvalidArgumentException", make, "aws:", QueueName="x", StreamConfigurationList=one, Tags=reserved)


@test
def queues_and_consumers_share_the_streams_limit(kinesis):
    stream = on_demand(kinesis)
    queues = [queue_of(kinesis, stream) for _ in range(19)]
    kinesis.register_stream_consumer(StreamARN=stream, ConsumerName="c")
    one = [{"StreamARN": stream}]
    refused("LimitExceededException", kinesis.create_queue, "20", QueueName="x", StreamConfigurationList=one)
    refused("LimitExceededException", kinesis.register_stream_consumer, "", StreamARN=stream, ConsumerName="d")
    kinesis.delete_queue(QueueARN=queues[0])
    queue_of(kinesis, stream)


@test
def a_stream_with_queues_is_neither_deleted_nor_provisioned(kinesis):
    stream = on_demand(kinesis)
    queue = queue_of(kinesis, stream)
    refused("ResourceInUseException", kinesis.delete_stream, "DeleteQueue", StreamARN=stream)
    refused(
        "ResourceInUseException", kinesis.delete_stream, "queues", StreamARN=stream, EnforceConsumerDeletion=True
    )
    mode = {"StreamMode": "PROVISIONED"}
    refused("ResourceInUseException", kinesis.update_stream_mode, "queues", StreamARN=stream, StreamModeDetails=mode)
    kinesis.delete_queue(QueueARN=queue)
    kinesis.update_stream_mode(StreamARN=stream, StreamModeDetails=mode)
    kinesis.delete_stream(StreamARN=stream)


@test
def queues_are_listed_page_by_page_and_by_stream(kinesis):
    streams = [on_demand(kinesis) for _ in range(2)]
    made = [[described(kinesis, stream)["QueueARN"] for _ in range(3)] for stream in streams]
    found, token = [], {}
    while True:
        page = kinesis.list_queues(MaxResults=2, **token)
        assert len(page["QueueSummaries"]) <= 2
        found += page["QueueSummaries"]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    arns = [summary["QueueARN"] for summary in found]
    assert [arn for arn in arns if arn in made[0] + made[1]] == made[0] + made[1], arns
    assert len(arns) == len(set(arns))
    of_one = kinesis.list_queues(StreamFilter=[{"StreamARN": streams[1]}])["QueueSummaries"]
    assert [summary["QueueARN"] for summary in of_one] == made[1], of_one
    [identifier] = of_one[0]["Streams"]
    assert identifier["StreamARN"] == streams[1] and of_one[0]["QueueStatus"] == "ACTIVE", of_one
    created = identifier["StreamCreationTimestamp"]
    known = [{"StreamARN": streams[1], "StreamCreationTimestamp": created}]
    assert len(kinesis.list_queues(StreamFilter=known)["QueueSummaries"]) == 3
    older = [{"StreamARN": streams[1], "StreamCreationTimestamp": created - datetime.timedelta(days=1)}]
    assert kinesis.list_queues(StreamFilter=older)["QueueSummaries"] == []
    assert kinesis.list_queues(StreamFilter=[{"StreamARN": arn_of("nowhere")}])["QueueSummaries"] == []


@test
def lists_with_wrong_tokens_are_refused(kinesis):
    raw = loose(kinesis)
    refused("InvalidArgumentException", raw.list_queues, "NextToken", NextToken="nonsense")
    refused("ValidationException", raw.list_queues, "maxResults", MaxResults=0)
    refused("ValidationException", raw.list_queues, "maxResults", MaxResults=10001)
    refused("ValidationException", raw.list_queues, "streamFilter", StreamFilter=[{"StreamARN": "x"}])


@test
def every_operation_refuses_a_queue_there_is_not(kinesis):
    raw = loose(kinesis)
    entry = [{"ReceiptHandle": "x"}]
    hidden = [{"ReceiptHandle": "x", "VisibilityTimeoutSeconds": 1}]
    gone = queue_of(kinesis, on_demand(kinesis))
    kinesis.delete_queue(QueueARN=gone)
    for call, more in [
        (raw.describe_queue, {}),
        (raw.delete_queue, {}),
        (raw.update_queue, {"QueueAttributes": {}}),
        (raw.receive_queue_records, {}),
        (raw.receive_dead_letter_queue_records, {}),
        (raw.acknowledge_queue_records, {"Entries": entry}),
        (raw.acknowledge_dead_letter_queue_records, {"Entries": entry}),
        (raw.restore_dead_letter_queue_records, {"Entries": entry}),
        (raw.update_queue_records_visibility, {"Entries": hidden}),
        (raw.update_dead_letter_queue_records_visibility, {"Entries": hidden}),
    ]:
        refused("ResourceNotFoundException", call, MISSING, QueueARN=MISSING, **more)
        refused("ResourceNotFoundException", call, gone, QueueARN=gone, **more)
        refused("ValidationException", call, "queueARN", QueueARN="arn:aws:kinesis:us-east-1:1:queue/x", **more)
        refused("ValidationException", call, "queueARN", **more)


@test
def requests_outside_the_models_limits_are_refused(kinesis):
    raw = loose(kinesis)
    queue = queue_of(kinesis, on_demand(kinesis))
    for call in [raw.receive_queue_records, raw.receive_dead_letter_queue_records]:
        refused("ValidationException", call, "limit", QueueARN=queue, Limit=11)
        refused("ValidationException", call, "limit", QueueARN=queue, Limit=0)
        refused("ValidationException", call, "waitTimeSeconds", QueueARN=queue, WaitTimeSeconds=21)
        refused("ValidationException", call, "waitTimeSeconds", QueueARN=queue, WaitTimeSeconds=0)
        refused("ValidationException", call, "43200", QueueARN=queue, VisibilityTimeoutSeconds=43201)
    for call in [
        raw.acknowledge_queue_records,
        raw.acknowledge_dead_letter_queue_records,
        raw.restore_dead_letter_queue_records,
    ]:
        refused("ValidationException", call, "entries", QueueARN=queue, Entries=[])
        refused("ValidationException", call, "entries", QueueARN=queue, Entries=[{"ReceiptHandle": "x"}] * 11)
        refused("ValidationException", call, "receiptHandle", QueueARN=queue, Entries=[{}])
        refused("ValidationException", call, "receiptHandle", QueueARN=queue, Entries=[{"ReceiptHandle": "x" * 1025}])
    for call in [raw.update_queue_records_visibility, raw.update_dead_letter_queue_records_visibility]:
        wrong = [{"ReceiptHandle": "x", "VisibilityTimeoutSeconds": 43201}]
        refused("ValidationException", call, "43200", QueueARN=queue, Entries=wrong)
        wrong = [{"ReceiptHandle": "x"}]
        refused("ValidationException", call, "visibilityTimeoutSeconds", QueueARN=queue, Entries=wrong)
    refused("ValidationException", raw.update_queue, "queueAttributes", QueueARN=queue)


@test
def a_record_is_delivered_with_everything_it_has(kinesis):
    stream = on_demand(kinesis)
    queue = queue_of(kinesis, stream, start="LATEST")
    other = queue_of(kinesis, stream, start="TRIM_HORIZON")
    before = time.time() - 1
    put(kinesis, stream, "über")
    [record] = receive(kinesis, queue, VisibilityTimeoutSeconds=0)
    assert record["Data"] == "über".encode() and record["PartitionKey"] == "über", record
    assert record["ReceiveCount"] == 1 and record["RecordId"].isalnum() and len(record["RecordId"]) <= 64, record
    assert before < record["ApproximateArrivalTimestamp"].timestamp() < time.time() + 1, record
    assert record["FirstReceiveTimestamp"] >= record["ApproximateArrivalTimestamp"], record
    [again] = receive(kinesis, queue)
    assert again["ReceiveCount"] == 2 and again["ReceiptHandle"] != record["ReceiptHandle"], again
    for member in ["RecordId", "FirstReceiveTimestamp", "ApproximateArrivalTimestamp"]:
        assert again[member] == record[member], member
    [elsewhere] = receive(kinesis, other)
    assert elsewhere["RecordId"] == record["RecordId"] and elsewhere["ReceiveCount"] == 1, elsewhere


@test
def delivery_begins_where_it_was_asked_to(kinesis):
    stream = on_demand(kinesis)
    put(kinesis, stream, "old", "older")
    time.sleep(1.1)
    between = time.time()
    time.sleep(0.1)
    put(kinesis, stream, "new")
    horizon = queue_of(kinesis, stream, start="TRIM_HORIZON")
    latest = queue_of(kinesis, stream, start="LATEST")
    stamped = described(kinesis, stream, start="AT_TIMESTAMP", timestamp=between)
    assert abs(stamped["StreamConfigurationList"][0]["StartingPosition"]["Timestamp"].timestamp() - between) < 0.01
    future = queue_of(kinesis, stream, start="AT_TIMESTAMP", timestamp=time.time() + 3600)
    put(kinesis, stream, "last")
    assert texts(drain(kinesis, horizon, 4)) == ["last", "new", "old", "older"]
    assert texts(drain(kinesis, latest, 1)) == ["last"]
    assert texts(drain(kinesis, stamped["QueueARN"], 2)) == ["last", "new"]
    assert receive(kinesis, future) == []


@test
def a_received_record_is_hidden_until_its_time_is_over(kinesis):
    stream = on_demand(kinesis)
    put(kinesis, stream, "a")
    queue = queue_of(kinesis, stream)
    [first] = receive(kinesis, queue, VisibilityTimeoutSeconds=2)
    assert receive(kinesis, queue) == []
    [second] = receive(kinesis, queue, wait=5)
    assert second["ReceiveCount"] == 2
    answer = kinesis.acknowledge_queue_records(QueueARN=queue, Entries=entries([first]))
    assert answer["Successful"] == [] and handles(answer["Failed"]) == handles([first]), answer
    assert answer["Failed"][0]["ErrorCode"] == "ResourceNotFoundException" and answer["Failed"][0]["ErrorMessage"]
    answer = kinesis.acknowledge_queue_records(QueueARN=queue, Entries=entries([second]))
    assert handles(answer["Successful"]) == handles([second]) and answer["Failed"] == [], answer


@test
def acknowledging_is_said_entry_by_entry(kinesis):
    stream = on_demand(kinesis)
    put(kinesis, stream, "a", "b", "c")
    queue, other = queue_of(kinesis, stream), queue_of(kinesis, stream)
    records = drain(kinesis, queue, 3)
    foreign = receive(kinesis, other)
    asked = entries(records[:2]) + entries(foreign[:1]) + [{"ReceiptHandle": "nonsense"}]
    answer = kinesis.acknowledge_queue_records(QueueARN=queue, Entries=asked)
    assert handles(answer["Successful"]) == handles(records[:2]), answer
    assert [entry["ErrorCode"] for entry in answer["Failed"]] == ["InvalidArgumentException"] * 2, answer
    # A client that sends its request again because the answer was lost.
    again = kinesis.acknowledge_queue_records(QueueARN=queue, Entries=entries(records[:2]))
    assert handles(again["Successful"]) == handles(records[:2]), again
    assert receive(kinesis, queue) == []
    kinesis.update_queue_records_visibility(QueueARN=queue, Entries=entries(records[2:], VisibilityTimeoutSeconds=0))
    assert texts(receive(kinesis, queue)) == texts(records[2:])


@test
def visibility_is_changed_both_ways(kinesis):
    stream = on_demand(kinesis)
    put(kinesis, stream, "a", "b")
    queue = queue_of(kinesis, stream, attributes={"VisibilityTimeoutSeconds": 2})
    records = drain(kinesis, queue, 2)
    longer = entries(records[:1], VisibilityTimeoutSeconds=60) + entries(records[1:], VisibilityTimeoutSeconds=0)
    answer = kinesis.update_queue_records_visibility(QueueARN=queue, Entries=longer)
    assert handles(answer["Successful"]) == handles(records) and answer["Failed"] == [], answer
    [again] = receive(kinesis, queue, VisibilityTimeoutSeconds=60)
    assert again["RecordId"] == records[1]["RecordId"]
    time.sleep(2.1)
    assert receive(kinesis, queue) == []
    kinesis.acknowledge_queue_records(QueueARN=queue, Entries=entries([again]))
    gone = entries([again], VisibilityTimeoutSeconds=5) + [{"ReceiptHandle": "x", "VisibilityTimeoutSeconds": 5}]
    answer = kinesis.update_queue_records_visibility(QueueARN=queue, Entries=gone)
    codes = [entry["ErrorCode"] for entry in answer["Failed"]]
    assert codes == ["ResourceNotFoundException", "InvalidArgumentException"], answer


@test
def limits_of_a_receive_are_kept(kinesis):
    stream = on_demand(kinesis)
    put(kinesis, stream, *[str(i) for i in range(25)])
    queue = queue_of(kinesis, stream)
    assert len(receive(kinesis, queue, Limit=3)) == 3
    sizes = [len(receive(kinesis, queue)) for _ in range(5)]
    assert max(sizes) <= 10 and sum(sizes) == 22, sizes
    start = time.time()
    assert receive(kinesis, queue, wait=1) == []
    assert 0.9 < time.time() - start < 3


@test
def answers_are_bounded_in_bytes(kinesis):
    stream = on_demand(kinesis)
    kinesis.update_max_record_size(StreamARN=stream, MaxRecordSizeInKiB=10240)
    for i in range(3):
        kinesis.put_record(StreamARN=stream, PartitionKey="k", Data=bytes(6 << 20))
    queue = queue_of(kinesis, stream)
    assert [len(receive(kinesis, queue)) for _ in range(3)] == [1, 1, 1]


@test
def a_record_received_too_often_is_a_dead_letter(kinesis):
    stream = on_demand(kinesis)
    put(kinesis, stream, "a")
    config = {"TargetType": "BUILT_IN", "MaxReceiveCount": 2}
    queue = queue_of(kinesis, stream, attributes={"VisibilityTimeoutSeconds": 1, "DeadLetterConfiguration": config})
    assert letters(kinesis, queue) == []
    assert [receive(kinesis, queue, wait=3)[0]["ReceiveCount"] for _ in range(2)] == [1, 2]
    # Waits for the last receive to run out.
    [letter] = letters(kinesis, queue, wait=5, VisibilityTimeoutSeconds=60)
    assert letter["Data"] == b"a" and letter["PartitionKey"] == "a" and letter["ReceiveCount"] == 3, letter
    assert receive(kinesis, queue) == [] and letters(kinesis, queue) == []
    # Handles of one side are not taken for the other.
    answer = kinesis.acknowledge_queue_records(QueueARN=queue, Entries=entries([letter]))
    assert answer["Failed"][0]["ErrorCode"] == "InvalidArgumentException", answer
    asked = entries([letter], VisibilityTimeoutSeconds=0)
    answer = kinesis.update_dead_letter_queue_records_visibility(QueueARN=queue, Entries=asked)
    assert handles(answer["Successful"]) == handles([letter]), answer
    [letter] = letters(kinesis, queue)
    answer = kinesis.acknowledge_dead_letter_queue_records(
        QueueARN=queue, Entries=entries([letter]) + [{"ReceiptHandle": "x"}]
    )
    assert handles(answer["Successful"]) == handles([letter]), answer
    assert [entry["ErrorCode"] for entry in answer["Failed"]] == ["InvalidArgumentException"], answer
    assert letters(kinesis, queue) == []
    answer = kinesis.update_dead_letter_queue_records_visibility(QueueARN=queue, Entries=asked)
    assert answer["Failed"][0]["ErrorCode"] == "ResourceNotFoundException", answer


@test
def a_restored_dead_letter_begins_again(kinesis):
    queue = dead_letter(kinesis, on_demand(kinesis))
    [letter] = letters(kinesis, queue, VisibilityTimeoutSeconds=600)
    asked = entries([letter]) + [{"ReceiptHandle": "x"}]
    answer = kinesis.restore_dead_letter_queue_records(QueueARN=queue, Entries=asked)
    assert handles(answer["Successful"]) == handles([letter]), answer
    assert [entry["ErrorCode"] for entry in answer["Failed"]] == ["InvalidArgumentException"], answer
    [record] = receive(kinesis, queue, VisibilityTimeoutSeconds=0)
    assert record["ReceiveCount"] == 1 and record["RecordId"] == letter["RecordId"], record
    assert receive(kinesis, queue) == []
    assert len(letters(kinesis, queue)) == 1
    answer = kinesis.restore_dead_letter_queue_records(QueueARN=queue, Entries=entries([letter]))
    assert answer["Failed"][0]["ErrorCode"] == "ResourceNotFoundException", answer


@test
def a_live_handle_ends_when_its_record_becomes_a_dead_letter(kinesis):
    stream = on_demand(kinesis)
    put(kinesis, stream, "a")
    config = {"TargetType": "BUILT_IN", "MaxReceiveCount": 1}
    queue = queue_of(kinesis, stream, attributes={"VisibilityTimeoutSeconds": 1, "DeadLetterConfiguration": config})
    [record] = receive(kinesis, queue)
    time.sleep(1.1)
    answer = kinesis.acknowledge_queue_records(QueueARN=queue, Entries=entries([record]))
    assert answer["Failed"][0]["ErrorCode"] == "ResourceNotFoundException", answer
    assert len(letters(kinesis, queue)) == 1


@test
def without_dead_letters_a_record_comes_back_for_ever(kinesis):
    stream = on_demand(kinesis)
    put(kinesis, stream, "a")
    config = {"TargetType": "NONE"}
    queue = queue_of(kinesis, stream, attributes={"VisibilityTimeoutSeconds": 0, "DeadLetterConfiguration": config})
    assert [receive(kinesis, queue)[0]["ReceiveCount"] for _ in range(9)] == list(range(1, 10))


@test
def an_update_changes_what_it_names_and_spares_what_is_in_flight(kinesis):
    stream = on_demand(kinesis)
    put(kinesis, stream, "a")
    queue = queue_of(kinesis, stream)
    [record] = receive(kinesis, queue)
    answer = kinesis.update_queue(QueueARN=queue, QueueAttributes={"VisibilityTimeoutSeconds": 0})
    assert answer["QueueDescription"]["QueueStatus"] == "UPDATING", answer
    found = kinesis.describe_queue(QueueARN=queue)["QueueDescription"]
    assert found["QueueStatus"] == "ACTIVE" and found["QueueAttributes"]["VisibilityTimeoutSeconds"] == 0, found
    assert found["QueueAttributes"]["DeadLetterConfiguration"]["MaxReceiveCount"] == 6, found
    assert receive(kinesis, queue) == [], "it keeps the timeout it was received with"
    kinesis.update_queue_records_visibility(QueueARN=queue, Entries=entries([record], VisibilityTimeoutSeconds=0))
    assert [len(receive(kinesis, queue)) for _ in range(2)] == [1, 1]
    config = {"TargetType": "BUILT_IN", "MaxReceiveCount": 3}
    answer = kinesis.update_queue(QueueARN=queue, QueueAttributes={"DeadLetterConfiguration": config})
    assert answer["QueueDescription"]["QueueAttributes"]["VisibilityTimeoutSeconds"] == 0, answer
    assert receive(kinesis, queue) == [] and len(letters(kinesis, queue)) == 1
    kinesis.update_queue(QueueARN=queue, QueueAttributes={})
    raw = loose(kinesis)
    wrong = {"DeadLetterConfiguration": {"TargetType": "BUILT_IN"}}
    refused("ValidationException", raw.update_queue, "required", QueueARN=queue, QueueAttributes=wrong)


@test
def deleting_a_queue_leaves_stream_and_other_queues_alone(kinesis):
    stream = on_demand(kinesis)
    put(kinesis, stream, "a")
    queue, other = queue_of(kinesis, stream, name="n-" + stream[-12:]), queue_of(kinesis, stream)
    receive(kinesis, queue)
    kinesis.delete_queue(QueueARN=queue)
    assert texts(receive(kinesis, other)) == ["a"]
    again = queue_of(kinesis, stream, name="n-" + stream[-12:])
    assert again != queue and texts(receive(kinesis, again)) == ["a"]


@test
def resource_policies_of_queues_are_kept(kinesis):
    queue = queue_of(kinesis, on_demand(kinesis))
    policy = (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},'
        '"Action":["kinesis:ReceiveQueueRecords"],"Resource":"%s"}]}' % queue
    )
    kinesis.put_resource_policy(ResourceARN=queue, Policy=policy)
    assert kinesis.get_resource_policy(ResourceARN=queue)["Policy"] == policy
    kinesis.delete_resource_policy(ResourceARN=queue)


@test
def a_clients_default_wait_ends_with_an_empty_list(kinesis):
    queue = queue_of(kinesis, on_demand(kinesis))
    start = time.time()
    answer = client_of(kinesis.meta.endpoint_url, read_timeout=30).receive_queue_records(QueueARN=queue)
    assert answer["QueueRecords"] == [] and 8.5 < time.time() - start < 12, time.time() - start
