"""The SDK's client for tests: without retries, so each request counts."""

import boto3
import botocore.config


def s3_client(address, access_key, secret_key, *, region="default", **options):
    """A boto3 client of the S3 service at this address; `options` are botocore's."""
    config = {
        "retries": {"max_attempts": 0},
        "read_timeout": 30,
        "connect_timeout": 5,
        "s3": {"addressing_style": "path"},
        **options,
    }
    return boto3.client(
        "s3",
        endpoint_url=f"http://{address}",
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=region,
        config=botocore.config.Config(**config),
    )
