-- POSTs prepared bodies in turn, so that no two requests in a row are the same. Arguments: how many body files, the
-- files, then "Name: value" headers. The end of the run is one line of JSON, so that nothing has to be read from text
-- made for people.

local requests = {}
local turn = 0

function init(args)
  local count = tonumber(args[1])
  wrk.method = "POST"
  for place = count + 2, #args do
    local name, value = args[place]:match("^([^:]+):%s*(.*)$")
    wrk.headers[name] = value
  end
  for place = 2, count + 1 do
    local file = assert(io.open(args[place], "rb"))
    requests[#requests + 1] = wrk.format(nil, nil, nil, file:read("*a"))
    file:close()
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n@{"requests":%d,"microseconds":%d,"p50":%d,"p90":%d,"p99":%d,"max":%d,"status":%d,"connect":%d,"read":%d,' ..
    '"write":%d,"timeout":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(90), latency:percentile(99),
    latency.max, errors.status, errors.connect, errors.read, errors.write, errors.timeout))
end
