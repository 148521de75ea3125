"""Makes a user and a role that may send to Kinesis, in five calls; prints the user's key and the role's name as JSON."""

import json
import sys

import boto3

iam = boto3.client(
    "iam",
    endpoint_url=sys.argv[1],
    region_name="eu-west-1",
    aws_access_key_id="anybody",
    aws_secret_access_key="anything",
)


def policy(**statement):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


send = policy(Action=["kinesis:*", "sts:*"], Resource="*")
trust = policy(Action="sts:AssumeRole", Principal={"AWS": "*"})
iam.create_user(UserName="edge")
iam.put_user_policy(UserName="edge", PolicyName="send", PolicyDocument=send)
key = iam.create_access_key(UserName="edge")["AccessKey"]
role = iam.create_role(RoleName="sender", AssumeRolePolicyDocument=trust)["Role"]
iam.put_role_policy(RoleName="sender", PolicyName="send", PolicyDocument=send)
json.dump({"id": key["AccessKeyId"], "secret": key["SecretAccessKey"], "role": role["Arn"]}, sys.stdout)
