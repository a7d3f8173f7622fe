# Counts test functions in swift-testing's event stream (one JSON object a line, read raw: the last line of a
# crashed process may be torn). A test that was planned but never ended has failed, unless the run itself ended.

def is_function: .kind == "test" and .payload.kind == "function";

[split("\n")[] | fromjson?] as $records
| [$records[] | select(is_function) | .payload.id] | unique as $planned
| [$records[] | select(.kind == "event") | .payload] as $events
| any($events[]; .kind == "runEnded") as $complete
| ($events | map(select(.kind == "testSkipped") | {(.testID): true}) | add // {}) as $skipped
| ($events | map(select(.kind == "testEnded") | {(.testID): (.messages[0].symbol // "pass")}) | add // {}) as $ended
| {
    passed: ([$planned[] | select($ended[.] and ($ended[.] | IN("fail", "skip") | not))] | length),
    skipped: [$planned[] | select($skipped[.] or $ended[.] == "skip")],
    failures: [
      $planned[]
      | if $ended[.] == "fail" then .
        elif $ended[.] or $skipped[.] or $complete then empty
        else . + " (never ended)" end
    ]
  }
