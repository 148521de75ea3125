"""Runs the tests of one subject with boto3:  run.py ENDPOINT SUBJECT [test name ...]

A subject is a file beside this one, `SUBJECT.py`, whose tests are marked with `support.test`.
"""

import importlib
import sys
import traceback

import support


def main():
    endpoint, subject, wanted = sys.argv[1], sys.argv[2], sys.argv[3:]
    importlib.import_module(subject)
    failed = run = 0
    for function in support.TESTS:
        if wanted and function.__name__ not in wanted:
            continue
        run += 1
        try:
            function(support.client_of(endpoint))
            print(f"ok {function.__name__}", flush=True)
        except Exception:  # noqa: BLE001 - a failed test must not stop the others
            failed += 1
            print(f"FAILED {function.__name__}\n{traceback.format_exc()}", flush=True)
    print(f"{run} tests, {failed} failed", flush=True)
    sys.exit(1 if failed or not run else 0)


if __name__ == "__main__":
    main()
