//! The exports of a filter.

const std = @import("std");
const plugin = @import("plugin");
const weir = @import("weir");

pub const panic = std.debug.FullPanic(weir.panic);

const Reply = extern struct { status: u16, headers: weir.List(weir.Header), body: weir.Text };

/// A decision on a request or a response. Only a request has the last variant.
const Decision = extern struct {
    tag: enum(u8) { next, edit, reply, fetch },
    value: extern union {
        none: void,
        edit: extern struct { edits: weir.List(weir.Edit), context: weir.Text },
        reply: Reply,
        fetch: extern struct {
            upstream: weir.Text,
            method: weir.Text,
            path: weir.Text,
            authority: weir.Text,
            headers: weir.List(weir.Header),
            body: weir.Text,
            timeout_ms: u32,
            context: weir.Text,
        },
    },
};

var manifest: weir.Manifest = undefined;
var configured: extern struct {
    is_err: bool,
    value: extern union {
        needs: extern struct {
            on_request: bool,
            on_response: bool,
            pure: bool,
            inputs: weir.List(weir.Text),
            response_inputs: weir.List(weir.Text),
        },
        message: weir.Text,
    },
} = undefined;
var decided: Decision = undefined;

comptime {
    @export(&weir.realloc, .{ .name = "cabi_realloc" });
    @export(&onRequest, .{ .name = "on-request" });
    @export(&onFetch, .{ .name = "on-fetch" });
    @export(&onResponse, .{ .name = "on-response" });
    for (.{ "describe", "configure", "on-request", "on-fetch", "on-response" }) |name| {
        @export(&done, .{ .name = "cabi_post_" ++ name });
    }
}

fn done(_: u32) callconv(.c) void {
    weir.endOfCall();
}

export fn describe() *const weir.Manifest {
    manifest = .of(plugin.about);
    return &manifest;
}

export fn configure(ptr: [*]const u8, len: usize) *const anyopaque {
    var needs: weir.FilterNeeds = .{};
    if (made(ptr[0..len], &needs)) {
        configured = .{ .is_err = false, .value = .{ .needs = .{
            .on_request = true,
            .on_response = needs.on_response,
            .pure = needs.pure,
            .inputs = .of(needs.inputs.names.items),
            .response_inputs = .of(needs.response.names.items),
        } } };
    } else |_| {
        configured = .{ .is_err = true, .value = .{ .message = .of(weir.refused) } };
    }
    return &configured;
}

fn made(text: []const u8, needs: *weir.FilterNeeds) error{Refused}!void {
    return plugin.configure(try weir.parse(text), needs);
}

fn onRequest(inputs: [*]const weir.Option, len: usize) callconv(.c) *const Decision {
    return give(plugin.onRequest(.{ .all = inputs[0..len] }));
}

/// The answer is a result: of a reply, or of text in the first two of its values.
fn onFetch(
    context: [*]const u8,
    context_len: usize,
    is_err: u32,
    status: u32,
    headers: usize,
    headers_len: usize,
    body: [*]const u8,
    body_len: usize,
) callconv(.c) *const Decision {
    if (!@hasDecl(plugin, "onFetch")) return give(.next);
    const answer: ?weir.Answer = if (is_err != 0) null else .{
        .status = @intCast(status),
        .headers = if (headers_len == 0) &.{} else @as([*]const weir.Header, @ptrFromInt(headers))[0..headers_len],
        .body = body[0..body_len],
    };
    const failure: []const u8 = if (is_err == 0 or headers == 0) "" else @as([*]const u8, @ptrFromInt(status))[0..headers];
    return give(plugin.onFetch(context[0..context_len], answer, failure));
}

fn onResponse(
    status: u32,
    inputs: [*]const weir.Option,
    len: usize,
    context: [*]const u8,
    context_len: usize,
) callconv(.c) *const Decision {
    if (!@hasDecl(plugin, "onResponse")) return give(.next);
    return giveResponse(plugin.onResponse(@intCast(status), .{ .all = inputs[0..len] }, context[0..context_len]));
}

fn giveResponse(decision: weir.ResponseDecision) *const Decision {
    return give(switch (decision) {
        .next => .next,
        .edit => |changes| .{ .edit = changes },
        .reply => |reply| .{ .reply = reply },
    });
}

fn give(decision: weir.RequestDecision) *const Decision {
    decided = switch (decision) {
        .next => .{ .tag = .next, .value = .{ .none = {} } },
        .edit => |changes| .{ .tag = .edit, .value = .{ .edit = .{
            .edits = .of(changes.edits.items),
            .context = .of(changes.context),
        } } },
        .reply => |reply| .{ .tag = .reply, .value = .{ .reply = .{
            .status = reply.status,
            .headers = .of(reply.headers.items),
            .body = .of(reply.body),
        } } },
        .fetch => |fetch| .{ .tag = .fetch, .value = .{ .fetch = .{
            .upstream = .of(fetch.upstream),
            .method = .of(fetch.method),
            .path = .of(fetch.path),
            .authority = .of(fetch.authority),
            .headers = .of(fetch.headers.items),
            .body = .of(fetch.body),
            .timeout_ms = fetch.timeout_ms,
            .context = .of(fetch.context),
        } } },
    };
    return &decided;
}
