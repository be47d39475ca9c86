#!/usr/bin/perl
# A fake Claude for the fault campaign: cheap to start, and a witness from outside the service. It appends what it does
# to CAMPAIGN_JOURNAL, a line each: `start RUN PID SERVICE_PID NS`, `end RUN PID NS`, `overlap RUN PID WHAT`. Times are
# nanoseconds of CLOCK_MONOTONIC. While it or a process it has forked lives, it holds a lock in the directory it works
# in and one in the session's; whoever finds one taken says `overlap`.
#
# CAMPAIGN_MS is how long it talks; CAMPAIGN_KIND how it behaves:
#   plain      numbered deltas, then the result
#   crashes    ends in the middle, without a result
#   overloaded a result that says that the model is overloaded
#   stubborn   ignores SIGTERM and the end of its input, and leaves a child in a session of its own
use strict;
use warnings;
use Fcntl qw(:flock O_WRONLY O_APPEND O_CREAT);
use POSIX qw(setsid);
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC sleep);

if (grep { $_ eq '--version' } @ARGV) {
    print "2.1.330 (Claude Code)\n";
    exit 0;
}

my $run     = $ENV{CC_RUN_ID};
my $kind    = $ENV{CAMPAIGN_KIND};
my $session = '00000000-0000-4000-8000-000000000001';
my @locks;

sub note {
    sysopen my $journal, $ENV{CAMPAIGN_JOURNAL}, O_WRONLY | O_APPEND | O_CREAT or die "journal: $!";
    syswrite $journal, join(' ', @_) . "\n";
    close $journal;
}

sub now { return sprintf '%.0f', clock_gettime(CLOCK_MONOTONIC) * 1e9 }

# The parent is the launcher; its parent is the service.
sub service_pid {
    open my $stat, '<', '/proc/' . getppid() . '/stat' or return 0;
    my ($pid) = <$stat> =~ /^.*\) \S (\d+)/s;
    return $pid // 0;
}

sub hold {
    my ($what, $folder) = @_;
    open my $lock, '>>', "$folder/.campaign-lock" or return note('overlap', $run, $$, "$what-unusable");
    flock($lock, LOCK_EX | LOCK_NB) or note('overlap', $run, $$, $what);
    push @locks, $lock;
    return;
}

sub say_line { syswrite STDOUT, "$_[0]\n" }

sub delta {
    my ($number) = @_;
    say_line(qq({"type":"stream_event","event":{"type":"content_block_delta","index":0,"delta":{"type":"text_delta",)
        . qq("text":"$number "}},"session_id":"$session","parent_tool_use_id":null,"api_message_id":"msg_1"}));
}

sub result {
    my ($uuid) = @_;
    my $how = $kind eq 'overloaded' ? '"is_error":true,"api_error_status":529' : '"is_error":false';
    say_line(qq({"type":"result","subtype":"success",$how,"result":"done","num_turns":1,"duration_ms":2,)
        . qq("duration_api_ms":1,"session_id":"$session","total_cost_usd":0,"queued_turn_count":0,)
        . qq("user_message_uuids":["$uuid"]}));
}

sub stubborn {
    $SIG{TERM} = 'IGNORE';
    my $child = fork // die "fork: $!";
    return if $child;
    setsid();
    sleep 600;
    exit 0;
}

note('start', $run, $$, service_pid(), now());
hold('workspace', '.');
hold('session', $ENV{CLAUDE_CONFIG_DIR});
stubborn() if $kind eq 'stubborn';

while (my $line = <STDIN>) {
    if ($line =~ /"type":"control_request"/) {
        my ($request) = $line =~ /"request_id":"([^"]+)"/;
        say_line(qq({"type":"control_response","response":{"subtype":"success","request_id":"$request","response":{}}}));
        next;
    }
    next if $line !~ /"type":"user"/;
    my ($uuid) = $line =~ /"uuid":"([^"]+)"/;
    my $count = 10;
    for my $number (1 .. $count) {
        sleep $ENV{CAMPAIGN_MS} / 1000 / $count;
        delta($number);
        exit 3 if $kind eq 'crashes' && $number == 5;
    }
    result($uuid);
}
sleep 600 if $kind eq 'stubborn';
note('end', $run, $$, now());
