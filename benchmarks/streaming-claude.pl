#!/usr/bin/perl
# A fake Claude that is cheap enough to run 200 times on two cores. When it has its FAKE_TURNS turns, it prints FAKE_COUNT
# deltas, FAKE_PER_SECOND a second, and then the result of them all. The text of a delta is its number and when it was
# printed, in nanoseconds of CLOCK_MONOTONIC, which is process.hrtime of Node.
use strict;
use warnings;
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

if (grep { $_ eq '--version' } @ARGV) {
    print "2.1.330 (Claude Code)\n";
    exit 0;
}

my $count = $ENV{FAKE_COUNT} // 600;
my $interval = 1 / ($ENV{FAKE_PER_SECOND} // 20);
my $awaited = $ENV{FAKE_TURNS} // 1;
my $session = '00000000-0000-4000-8000-000000000001';
my @turns;

sub say_line { syswrite STDOUT, "$_[0]\n" }

sub stream {
    # Each begins at a moment of its own, so that they do not all print at once.
    my $next = clock_gettime(CLOCK_MONOTONIC) + rand $interval;
    for my $number (1 .. $count) {
        my $rest = $next - clock_gettime(CLOCK_MONOTONIC);
        select undef, undef, undef, $rest if $rest > 0;
        my $text = sprintf '%d %.0f', $number, clock_gettime(CLOCK_MONOTONIC) * 1e9;
        say_line(qq({"type":"stream_event","event":{"type":"content_block_delta","index":0,"delta":{"type":"text_delta",)
            . qq("text":"$text "}},"session_id":"$session","parent_tool_use_id":null,"api_message_id":"msg_1"}));
        $next += $interval;
    }
}

while (my $line = <STDIN>) {
    if ($line =~ /"type":"control_request"/) {
        my ($request) = $line =~ /"request_id":"([^"]+)"/;
        say_line(qq({"type":"control_response","response":{"subtype":"success","request_id":"$request","response":{}}}));
        next;
    }
    next if $line !~ /"type":"user"/;
    push @turns, $line =~ /"uuid":"([^"]+)"/;
    next if @turns != $awaited;
    stream();
    my $uuids = join ',', map { qq("$_") } @turns;
    say_line(qq({"type":"result","subtype":"success","is_error":false,"result":"done","num_turns":$awaited,"duration_ms":2,)
        . qq("duration_api_ms":1,"session_id":"$session","total_cost_usd":0,"queued_turn_count":0,"user_message_uuids":[$uuids]}));
}
