#!/usr/bin/env python3
"""Publishes JSON readings over MQTT with QoS 1 and prints each one when the gateway has made it durable.

    python3 mqtt_publisher.py --topic site/north/dev/42/telemetry/temperature --count 10
    python3 mqtt_publisher.py --protocol 3.1.1 --topic ...

With QoS 1 a publish is acknowledged only after it is in its shard, on disk.
"""

import argparse
import json
import time

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--host", default="127.0.0.1")
parser.add_argument("--port", type=int, default=1883)
parser.add_argument("--protocol", choices=["3.1.1", "5"], default="5")
parser.add_argument("--client-id", default="mqtt-publisher")
parser.add_argument("--topic", required=True)
parser.add_argument("--count", type=int, default=10)
parser.add_argument("--qos", type=int, choices=[0, 1, 2], default=1)
args = parser.parse_args()

version = mqtt.MQTTv5 if args.protocol == "5" else mqtt.MQTTv311
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=args.client_id, protocol=version)
client.connect(args.host, args.port)
client.loop_start()

properties = None
if args.protocol == "5":
    properties = Properties(PacketTypes.PUBLISH)
    properties.ContentType = "application/json"

for number in range(args.count):
    reading = {"number": number, "client": args.client_id, "celsius": 20 + number % 7, "at": time.time()}
    publish = client.publish(args.topic, json.dumps(reading), qos=args.qos, properties=properties)
    publish.wait_for_publish(timeout=30)
    if not publish.is_published():
        raise SystemExit(f"reading {number} was not acknowledged within 30 s")
    print(number, "acknowledged", flush=True)

client.disconnect()
client.loop_stop()
