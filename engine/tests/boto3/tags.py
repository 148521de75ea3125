"""Tags of streams."""

from support import fresh, loose, refused, test


@test
def tags_are_set_listed_and_removed(kinesis):
    name = fresh(kinesis)
    kinesis.add_tags_to_stream(StreamName=name, Tags={"b": "2", "a": "1"})
    kinesis.add_tags_to_stream(StreamName=name, Tags={"b": "3", "c": ""})
    of = lambda **more: kinesis.list_tags_for_stream(StreamName=name, **more)
    assert of()["Tags"] == [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "3"}, {"Key": "c", "Value": ""}]
    page = of(Limit=1, ExclusiveStartTagKey="a")
    assert page["Tags"] == [{"Key": "b", "Value": "3"}] and page["HasMoreTags"]
    kinesis.remove_tags_from_stream(StreamName=name, TagKeys=["a", "b", "none"])
    assert of()["Tags"] == [{"Key": "c", "Value": ""}] and not of()["HasMoreTags"]
    refused("InvalidArgumentException", kinesis.add_tags_to_stream, "more than 50 tags", StreamName=name,
            Tags={str(i): "" for i in range(50)})
    refused("ValidationException", loose(kinesis).add_tags_to_stream, "Map keys", StreamName=name, Tags={"k" * 129: ""})
