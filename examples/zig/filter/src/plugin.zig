//! The policy of a tenant's requests. examples/README.md describes it exactly.

const std = @import("std");
const weir = @import("weir");

pub const about: weir.About = .{
    .name = "tenants",
    .summary = "The policy of a tenant's requests",
    .config_schema =
    \\{
    \\  "type": "object",
    \\  "required": ["tenants"],
    \\  "additionalProperties": false,
    \\  "properties": {
    \\    "tenants": {
    \\      "type": "object",
    \\      "additionalProperties": {
    \\        "type": "object",
    \\        "additionalProperties": false,
    \\        "properties": {
    \\          "prefix": { "type": "string", "pattern": "^/.*[^/]$", "description": "The prefix of the path" },
    \\          "plan": { "type": "string", "description": "The value of x-plan for the origin" },
    \\          "methods": { "type": "array", "items": { "type": "string" }, "description": "The methods that are allowed" },
    \\          "max_body": {
    \\            "type": "integer", "minimum": 0, "maximum": 2147483647,
    \\            "description": "The largest content-length that is allowed"
    \\          }
    \\        }
    \\      }
    \\    },
    \\    "directory": { "type": "string", "description": "The upstream that knows the plans of further tenants" },
    \\    "quota": {
    \\      "type": "integer", "minimum": 1, "maximum": 2147483647,
    \\      "description": "The requests that a tenant may make in a minute"
    \\    },
    \\    "key": {
    \\      "type": "string", "minLength": 1, "x-weir-secret": true,
    \\      "description": "Requests with this value of x-key pass without a tenant"
    \\    }
    \\  }
    \\}
    ,
};

const Policy = struct {
    prefix: ?[]const u8 = null,
    plan: ?[]const u8 = null,
    methods: ?[]const []const u8 = null,
    max_body: ?u64 = null,
};

var tenants: std.StringHashMapUnmanaged(Policy) = .empty;
var directory: ?[]const u8 = null;
var quota: ?i64 = null;
var secret: ?[]const u8 = null;
var inputs: struct { tenant: weir.Input, key: weir.Input, method: weir.Input, path: weir.Input, length: weir.Input } = undefined;

/// The time for which a count and an answer of the directory count, in milliseconds.
const minute = 60_000;

pub fn configure(config: std.json.Value, needs: *weir.FilterNeeds) error{Refused}!void {
    if (config != .object) return weir.refuse("it must be an object", .{});
    try weir.expectKeys(config.object, &.{ "tenants", "directory", "quota", "key" });
    const all = config.object.get("tenants") orelse return weir.refuse("tenants: it must be there", .{});
    if (all != .object) return weir.refuse("tenants: it must be an object", .{});
    for (all.object.keys(), all.object.values()) |name, value| {
        tenants.put(weir.gpa, name, try read(value)) catch weir.outOfMemory();
    }
    if (config.object.get("directory")) |value| directory = try string("directory", value);
    if (config.object.get("key")) |value| secret = try string("key", value);
    if (config.object.get("quota")) |value| {
        if (value != .integer or value.integer < 1 or value.integer > 2147483647) {
            return weir.refuse("quota: it must be from 1 to 2147483647", .{});
        }
        quota = value.integer;
    }
    needs.on_response = true;
    inputs = .{
        .tenant = needs.inputs.input("header:x-tenant"),
        .key = needs.inputs.input("header:x-key"),
        .method = needs.inputs.input(":method"),
        .path = needs.inputs.input(":path"),
        .length = needs.inputs.input("header:content-length"),
    };
}

fn read(value: std.json.Value) error{Refused}!Policy {
    if (value != .object) return weir.refuse("a tenant must be an object", .{});
    const object = value.object;
    try weir.expectKeys(object, &.{ "prefix", "plan", "methods", "max_body" });
    var policy: Policy = .{};
    if (object.get("prefix")) |prefix| {
        policy.prefix = try string("prefix", prefix);
        if (!std.mem.startsWith(u8, prefix.string, "/") or std.mem.endsWith(u8, prefix.string, "/")) {
            return weir.refuse("prefix: it must begin with a slash and not end with one", .{});
        }
    }
    if (object.get("plan")) |plan| policy.plan = try string("plan", plan);
    if (object.get("methods")) |methods| {
        if (methods != .array) return weir.refuse("methods: it must be a list", .{});
        const names = weir.gpa.alloc([]const u8, methods.array.items.len) catch weir.outOfMemory();
        for (names, methods.array.items) |*name, method| name.* = try string("methods", method);
        policy.methods = names;
    }
    if (object.get("max_body")) |most| {
        if (most != .integer or most.integer < 0 or most.integer > 2147483647) {
            return weir.refuse("max_body: it must be a whole number from 0 to 2147483647", .{});
        }
        policy.max_body = @intCast(most.integer);
    }
    return policy;
}

fn string(comptime key: []const u8, value: std.json.Value) error{Refused}![]const u8 {
    return if (value == .string) value.string else weir.refuse(key ++ ": it must be a string", .{});
}

pub fn onRequest(values: weir.Values) weir.RequestDecision {
    if (secret) |key| {
        if (values.get(inputs.key)) |given| {
            if (!weir.isSecret(given, key)) return refuse(403, "wrong key\n");
            var changes: weir.Changes = .{};
            changes.remove("x-key");
            changes.attribute("by", "key");
            return .{ .edit = changes };
        }
    }
    const tenant = values.get(inputs.tenant) orelse return refuse(403, "unknown tenant\n");
    if (tenants.get(tenant)) |policy| return decide(tenant, policy, values);
    const upstream = directory orelse return refuse(403, "unknown tenant\n");
    if (!isName(tenant)) return refuse(403, "unknown tenant\n");
    return lookUp(tenant, upstream);
}

pub fn onFetch(tenant: []const u8, answer: ?weir.Answer, _: []const u8) weir.RequestDecision {
    if (answer) |came| {
        if (came.status == 200) {
            const plan = came.header("x-plan") orelse "";
            weir.state.set("", join("tenant/", tenant), join("+", plan), minute);
            return decide(tenant, withPlan(plan), null);
        }
        if (came.status == 404) {
            weir.state.set("", join("tenant/", tenant), "-", minute);
            return refuse(403, "unknown tenant\n");
        }
    }
    weir.count("undecided", 1);
    return refuse(503, "no directory\n");
}

pub fn onResponse(_: u16, _: weir.ResponseValues, context: []const u8) weir.ResponseDecision {
    if (context.len == 0) return .next;
    var changes: weir.Changes = .{};
    changes.set("x-tenant", context);
    return .{ .edit = changes };
}

/// Decides by what the directory said about the tenant in the last minute, or asks it.
fn lookUp(tenant: []const u8, upstream: []const u8) weir.RequestDecision {
    const value = weir.state.get("", join("tenant/", tenant)) orelse return .{ .fetch = .{
        .upstream = upstream,
        .path = join("/tenants/", tenant),
        .timeout_ms = 2000,
        .context = tenant,
    } };
    if (!std.mem.startsWith(u8, value, "+")) return refuse(403, "unknown tenant\n");
    return decide(tenant, withPlan(value[1..]), null);
}

fn withPlan(plan: []const u8) Policy {
    return .{ .plan = if (plan.len > 0) plan else null };
}

/// Decides by a policy. Without the request it is one of the directory, which has only a plan.
fn decide(tenant: []const u8, policy: Policy, values: ?weir.Values) weir.RequestDecision {
    const request: weir.Values = values orelse .{ .all = &.{} };
    if (policy.methods) |methods| {
        if (!isAmong(request.get(inputs.method) orelse "", methods)) {
            var decision = refuse(405, "method not allowed\n");
            decision.reply.header("allow", std.mem.join(weir.scratch(), ", ", methods) catch weir.outOfMemory());
            return decision;
        }
    }
    if (policy.max_body) |most| {
        if (request.get(inputs.length)) |length| {
            if (!fits(length, most)) return refuse(413, "body too large\n");
        }
    }
    if (quota) |most| {
        if (weir.state.add("", join("quota/", tenant), 1, minute) > most) {
            weir.count("limited", 1);
            var decision = refuse(429, "too many requests\n");
            decision.reply.header("retry-after", "60");
            return decision;
        }
    }
    if (policy.prefix == null and policy.plan == null) return .next;
    var changes: weir.Changes = .{ .context = tenant };
    const path = request.get(inputs.path) orelse "";
    if (policy.prefix) |prefix| {
        if (std.mem.startsWith(u8, path, "/")) changes.path(join(prefix, path));
    }
    if (policy.plan) |plan| {
        changes.set("x-plan", plan);
        changes.attribute("plan", plan);
    }
    return .{ .edit = changes };
}

fn refuse(status: u16, body: []const u8) weir.RequestDecision {
    var reply: weir.Reply = .{ .status = status, .body = body };
    reply.header("content-type", "text/plain");
    return .{ .reply = reply };
}

fn join(first: []const u8, second: []const u8) []const u8 {
    return std.mem.concat(weir.scratch(), u8, &.{ first, second }) catch weir.outOfMemory();
}

/// Whether the directory may be asked for a tenant of this name.
fn isName(tenant: []const u8) bool {
    for (tenant) |c| {
        if (!std.ascii.isAlphanumeric(c) and c != '-') return false;
    }
    return tenant.len > 0 and tenant.len <= 64;
}

fn isAmong(method: []const u8, methods: []const []const u8) bool {
    for (methods) |allowed| {
        if (std.mem.eql(u8, allowed, method)) return true;
    }
    return false;
}

/// Whether a content-length is a number and at most `most`.
fn fits(length: []const u8, most: u64) bool {
    var sum: u64 = 0;
    for (length) |digit| {
        if (!std.ascii.isDigit(digit)) return false;
        sum = @min(sum * 10 + (digit - '0'), 1 << 32);
    }
    return length.len > 0 and sum <= most;
}
