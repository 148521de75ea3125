"""UpdateShardCount under AWS's limits."""

import time

from support import fresh, refused, test


@test
def a_resize_is_at_most_double_at_least_half_and_ten_a_day(kinesis):
    name = fresh(kinesis, 4)
    call = kinesis.update_shard_count
    ask = lambda count: dict(StreamName=name, TargetShardCount=count, ScalingType="UNIFORM_SCALING")
    refused("LimitExceededException", call, "UpdateShardCount cannot scale up over double your current open shard count. "
            "Current open shard count: 4, Target shard count: 9", **ask(9))
    refused("LimitExceededException", call, "UpdateShardCount cannot scale down below half your current open shard count. "
            "Current open shard count: 4, Target shard count: 1", **ask(1))
    for i in range(10):
        time.sleep(0.11)
        assert call(**ask(8 if i % 2 == 0 else 4))["CurrentShardCount"] == (4 if i % 2 == 0 else 8)
    refused("LimitExceededException", call, "10 times in a rolling 24-hour period", **ask(8))
