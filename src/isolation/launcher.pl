#!/usr/bin/perl
# The launcher: parent of one Claude process for its whole life, and the reason why nothing of a run outlives it.
#
#   perl launcher.pl --parent PID [--uid N --gid N] [--limit NAME=VALUE]... [--box exec|init] -- /ABSOLUTE/COMMAND [ARGS]
#
#   perl launcher.pl --wait --parent PID       started ahead: the rest comes on fd 4 (see wait_for_start)
#
# fd 3: status, one JSON object a line: started, paused, resumed, failed, exited. fd 4: control, one word a line: pause,
# resume, interrupt, terminate, kill; its end means that the service is gone. Exit: that of the command (128+n for signal
# n), or 125 usage and set-up, 126 not executable, 127 not found; only the status line tells those from the command's own.
#
# --box: the command makes a box and runs the real command in it. exec: it becomes the real command; its fd 3 is for saying
# why it could not (confine.pl). init: it makes a box with processes of its own, of which the first reports (box-init.pl).
#
# 1. Every descendant stays below this process, a child subreaper: so ECHILD from waitpid proves that none is left.
# 2. The command gets fds 0-2 and no privilege; the drop is verified, or exec is not reached.
# 3. This process keeps its own user id: a run with another uid can neither signal nor trace it.
# 4. No signal handlers: signals stay blocked and come through a signalfd, so none is lost between a check and a wait.
# 5. It outlives neither the service (end of fd 4, parent-death signal) nor, by more than KILL_SECONDS, the command.
# Weaker where the kernel is not Linux (macOS, for development): no subreaper, so a child that left its parents and its
# process group is lost; no parent-death signal, limits, no_new_privs or uid drop; handlers, and a poll for ended children.
use strict;
use warnings;
use Errno ();
# POSIX's functions alone: its Perl half, which is not needed here, takes longer to compile than all the rest.
BEGIN { require XSLoader; eval { XSLoader::load('POSIX'); 1 } or require POSIX }

use constant { GRACE_SECONDS => 1, FREEZE_SECONDS => 2, KILL_SECONDS => 5, MAX_CONTROL_BYTES => 4096 };
use constant { PDEATHSIG => 1, DUMPABLE => 4, SUBREAPER => 36, NO_NEW_PRIVS => 38, AMBIENT_CAPS => 47, CLEAR_ALL => 4 };
# System calls: syscall_64.tbl, asm-generic/unistd.h. Limits: asm-generic/resource.h; none on address space, because
# WebAssembly reserves far more than it uses.
my @CALLS = qw(prctl prlimit64 setgroups setresgid setresuid signalfd4);
my %NUMBERS = (x86_64 => [157, 302, 116, 119, 117, 289], aarch64 => [167, 261, 159, 149, 147, 74]);
my %LIMITS = (cpu => 0, fsize => 1, core => 4, nproc => 6, nofile => 7, memlock => 8, msgqueue => 12);
my $LINUX = $^O eq 'linux';
# $child is what this process started, and waits for; $cli the command itself, which is another process in a box with an init.
our (%option, $control, $child, $cli, $init, $box_report, $deadline, $kill_now);
my (%sys, %limit, $status, $signals, $cli_status);
my $words = '';

sub now { (POSIX::times())[0] / POSIX::sysconf(POSIX::_SC_CLK_TCK()) }    # monotonic, in seconds
sub report { syswrite $status, "{$_[0]}\n" if $status }
sub must { my ($what, $result) = @_; die "$what: $!\n" if !defined $result || $result == -1; $result }

sub fail {
    my ($exit, $errno, $text) = @_;
    $text =~ s/\s+\z//;
    $text =~ s/["\\]|[^\x20-\x7e]/?/g;
    report(qq("event":"failed","errno":"$errno","error":"$text"));
    print STDERR "launcher: $text\n" if !$status;
    POSIX::_exit($exit);
}

# Started ahead, before it is known what to run: the first line on fd 4 is `start BYTES`, and behind it come, each ended by
# a NUL, the working directory, the number of arguments, the arguments, and the environment as NAME=VALUE.
sub wait_for_start {
    my ($start, $size) = ('', undef);
    while (!defined $size || length $start < $size) {
        my $got = sysread $control, $start, 65536, length $start;
        POSIX::_exit(0) if !$got;    # the service is gone, or needs no further run
        $size = $1 if !defined $size && $start =~ s/\Astart (\d{1,9})\n//;
        fail(125, 'EINVAL', 'bad start') if !defined $size && length $start > 32;
    }
    $words = substr $start, $size, length($start) - $size, '';
    my ($directory, $count, @rest) = split /\0/, $start, -1;
    pop @rest;
    @ARGV = splice @rest, 0, $count;
    %ENV = map { split /=/, $_, 2 } @rest;
    chdir $directory or fail(125, 'ECHDIR', "working directory $directory: $!");
    parse_arguments();
}

sub parse_arguments {
    $option{wait} = 1, shift @ARGV if @ARGV && $ARGV[0] eq '--wait';
    while (@ARGV && (my $name = shift @ARGV) ne '--') {
        my $value = shift(@ARGV) // '';
        if ($name =~ /\A--(parent|uid|gid)\z/ && $value =~ /\A[1-9]\d{0,9}\z/) { $option{substr $name, 2} = 0 + $value }
        elsif ($name eq '--box' && $value =~ /\A(?:exec|init)\z/) { $option{box} = $value }
        elsif ($name eq '--limit' && $value =~ /\A(\w+)=(\d{1,18})\z/ && exists $LIMITS{$1}) { $limit{$1} = 0 + $2 }
        else { fail(125, 'EINVAL', "bad option $name $value") }
    }
    my $wrong = !$option{parent} ? '--parent is missing' : $option{wait} && !@ARGV ? return : !@ARGV ? 'there is no command after --'
        : !$option{uid} != !$option{gid} ? '--uid and --gid go together'
        # The kernel counts processes per uid: without a uid of its own the run would be charged for the service's.
        : exists $limit{nproc} && !$option{uid} ? '--limit nproc needs --uid' : undef;
    fail(125, 'EINVAL', $wrong) if $wrong;
    require(__FILE__ =~ s/\.pl\z/-box.pl/r) if $option{box};
    fail(127, 'ENOENT', "$ARGV[0] is not an absolute path") if $ARGV[0] !~ m{\A/};
}

# Calls $visit->(pid, state, parent pid, process group) for every process, as soon as it is read.
sub each_process {
    my ($visit) = @_;
    if (!-r '/proc/self/stat') {
        my $ps = open(my $list, '-|', qw(ps -A -o pid= -o stat= -o ppid= -o pgid=)) or return;
        my @rows = map { [split] } readline $list;
        close $list;
        return map { $visit->(@$_) } grep { $_->[0] != $ps } @rows;
    }
    opendir my $proc, '/proc' or return;
    while (defined(my $pid = readdir $proc)) {
        next if $pid !~ /\A\d+\z/ || !open my $stat, '<', "/proc/$pid/stat";
        # The name of a process may hold spaces and brackets: what counts stands after the last bracket.
        $visit->($pid, $1, $2, $3) if (readline($stat) // '') =~ /\A.*\) (\S) (\d+) (\d+) /s;
    }
}

# Signals every descendant, each as soon as it is found, until a whole pass finds no new one, living or dead, and, for
# STOP, each has stopped (the signal is only pending at first); returns pid => state. Nothing is reaped meanwhile, so what
# ends during a pass is found by the next one as a zombie, and a chain of forks cannot slip through unseen. Their
# process groups get the signal too: that is atomic, so a storm of forks inside a group cannot outrun it. Such a group
# holds descendants only, because every session below this one was begun by a descendant; the launcher's own is left out.
sub signal_family {
    my ($signal, $until) = @_;
    my (%family, %groups, $found);
    do {
        $found = 0;
        each_process(sub {
            my ($pid, $state, $parent, $group) = @_;
            return if $pid == $$ || $parent != $$ && !exists $family{$parent};
            my $new = !exists $family{$pid};
            $family{$pid} = $state;
            $found = 1 if $new || $signal eq 'STOP' && $state !~ /[TtZX]/;
            return if !$new;
            kill $signal, $pid;
            kill $signal, -$group if $group > 1 && $group != getpgrp() && !$groups{$group}++;
        });
    } while ($found && now() < $until);
    return \%family;
}

# Reaps what has ended; false when there is no child any more.
sub reap {
    while ((my $pid = waitpid(-1, POSIX::WNOHANG())) != 0) {
        return 0 if $pid == -1;
        $cli_status = $box_report ? ended_with($?) : $? if $pid == $child;
    }
    return 1;
}

# Kills and reaps every descendant. All are stopped first: a stopped process neither forks nor reaps, so every pid stays
# what it was until the kill, which needs no SIGCONT. Returns how many beside the command were alive, and how many are left.
sub end_family {
    my ($until, %swept) = now() + KILL_SECONDS;
    my $family = signal_family('STOP', now() + FREEZE_SECONDS);
    while (1) {
        $swept{$_} = 1 for grep { $_ != $child && $_ != $cli && $_ != $init && $family->{$_} !~ /\A[ZX]/ } keys %$family;
        $family = signal_family('KILL', $until);
        return (scalar keys %swept, 0) if !reap();
        return (scalar keys %swept, scalar keys %$family) if now() > $until;
        select undef, undef, undef, 0.002;
    }
}

sub set_limits {
    for my $name (sort keys %limit) {
        my $old = pack 'QQ', 0, 0;
        must("limit $name", syscall($sys{prlimit64}, 0, $LIMITS{$name}, 0, $old));
        my $hard = (unpack 'QQ', $old)[1];
        my $new = pack 'QQ', ($limit{$name} < $hard ? $limit{$name} : $hard) x 2;    # never above what the service has
        must("limit $name", syscall($sys{prlimit64}, 0, $LIMITS{$name}, $new, 0));
    }
}

sub drop_user {
    my ($uid, $gid) = @option{qw(uid gid)};
    die "running as another user needs Linux\n" if !$LINUX;
    must('setgroups', syscall($sys{setgroups}, 0, 0));
    must('setresgid', syscall($sys{setresgid}, $gid, $gid, $gid));
    must('setresuid', syscall($sys{setresuid}, $uid, $uid, $uid));
    die "the user was not dropped\n" if "$< $> $( $)" ne "$uid $uid $gid $gid";    # $) lists the groups as well
    die "root can be taken back\n" if grep { syscall($sys{$_}, 0, 0, 0) != -1 } qw(setresuid setresgid);
}

# In the child; a die here becomes a `failed` line.
sub become_command {
    my ($launcher, $outcome) = @_;
    my $directory = POSIX::getcwd() // die "working directory: $!\n";
    setpgrp 0, 0;
    umask 077;
    $SIG{$_} = 'DEFAULT' for qw(HUP INT TERM PIPE);
    set_limits() if $LINUX;
    drop_user() if $option{uid};
    if ($LINUX) {
        syscall($sys{prctl}, AMBIENT_CAPS, CLEAR_ALL, 0, 0, 0);
        must('no_new_privs', syscall($sys{prctl}, NO_NEW_PRIVS, 1, 0, 0, 0));
        # A change of uid clears the parent-death signal, so it is asked for after the drop.
        must('parent-death signal', syscall($sys{prctl}, PDEATHSIG, POSIX::SIGKILL(), 0, 0, 0));
        die "the launcher has ended\n" if getppid() != $launcher;
    }
    must("uid $> cannot enter the working directory $directory", chdir($directory) ? 0 : -1);
    opendir my $open, '/dev/fd' or die "/dev/fd: $!\n";
    POSIX::close($_) for grep { /\A\d+\z/ && $_ > 2 && $_ != fileno $outcome } readdir $open;
    hand_to_box($outcome) if $option{box};
    POSIX::sigprocmask(POSIX::SIG_SETMASK(), POSIX::SigSet->new) or die "signal mask: $!\n";
    no warnings 'exec';
    exec { $ARGV[0] } @ARGV;
    syswrite $outcome, (0 + $!) . "\t$ARGV[0]: $!";
    POSIX::_exit(126);
}

sub start_command {
    # AF_UNIX, SOCK_STREAM: an init is also spoken to.
    socketpair(my $read, my $outcome, 1, 1, 0) or fail(125, 'ESETUP', "socketpair: $!");
    my $launcher = $$;
    $child = $cli = $init = fork // fail(125, 'ESETUP', "fork: $!");
    if ($child == 0) {
        eval { become_command($launcher, $outcome) };
        syswrite $outcome, "0\t$@";
        POSIX::_exit(125);
    }
    close $outcome;
    my $word = ($option{box} // '') eq 'init' ? why_not_started($read) : join '', readline $read;
    if (!defined $word || $word ne '') {
        kill 'KILL', $child if defined $word || $kill_now || $deadline;
        waitpid $child, 0;
        fail(125, 'EBOX', "the box could not be made: $ARGV[0] ended with " . ($? >> 8 || 'signal ' . ($? & 127))) if !defined $word;
        ($!, my $text) = split /\t/, $word, 2;
        fail(125, $option{box} ? 'EBOX' : 'ESETUP', $text) if $! == 0;
        fail($!{ENOENT} ? 127 : 126, (grep { $!{$_} } keys %!)[0], $text);
    }
    report(qq("event":"started","pid":$cli));
    # Holding the run's pipes or folder would hide that the command closed its output, and keep the folder busy.
    open $_, '+<', '/dev/null' for \*STDIN, \*STDOUT, \*STDERR;
    chdir '/';
}

sub ask_to_end { $cli && kill 'TERM', $cli; signal_family('CONT', now() + FREEZE_SECONDS) }
sub service_is_gone { $deadline //= do { ask_to_end(); now() + GRACE_SECONDS } }

# Words are obeyed only until the command is reaped, so its pid is its own.
my %OBEY = (
    pause => sub { signal_family('STOP', now() + FREEZE_SECONDS); report('"event":"paused"') },
    resume => sub { signal_family('CONT', now() + FREEZE_SECONDS); report('"event":"resumed"') },
    interrupt => sub { kill 'INT', $cli }, terminate => \&ask_to_end, kill => sub { $kill_now = 1 },
);

sub read_control {
    my $got = sysread $control, $words, MAX_CONTROL_BYTES, length $words;
    while ($words =~ s/\A([^\n]*)\n//) { $OBEY{$1}->() if $OBEY{$1} }
    return if $got && length $words < MAX_CONTROL_BYTES;
    undef $control;
    service_is_gone();
}

# Sets this process up: own session, blocked signals, subreaper, parent-death signal.
sub become_launcher {
    my @blocked = (POSIX::SIGHUP(), POSIX::SIGINT(), POSIX::SIGTERM(), POSIX::SIGCHLD());
    $SIG{PIPE} = 'IGNORE';
    must('setsid', POSIX::setsid()) if getpgrp() != $$;    # a service that starts it detached has done it
    return map { $SIG{$_} = \&service_is_gone } qw(HUP INT TERM) if !$LINUX;
    POSIX::sigprocmask(POSIX::SIG_BLOCK(), POSIX::SigSet->new(@blocked));
    my $numbers = length pack('p', undef) == 8 && $NUMBERS{(POSIX::uname())[4]};
    @sys{@CALLS} = @{$numbers or die "only 64-bit x86_64 and aarch64 are known\n"};
    must('subreaper', syscall($sys{prctl}, SUBREAPER, 1, 0, 0, 0));
    must('dumpable', syscall($sys{prctl}, DUMPABLE, 0, 0, 0, 0));    # nor can a run of the same uid trace it
    must('parent-death signal', syscall($sys{prctl}, PDEATHSIG, POSIX::SIGTERM(), 0, 0, 0));
    my $mask = 0;
    $mask |= 1 << ($_ - 1) for @blocked;
    my $set = pack 'Q', $mask;
    open $signals, '<&=', must('signalfd', syscall($sys{signalfd4}, -1, $set, 8, 02004000)) or die "signalfd: $!\n";
}

sub wait_for_news {
    my $wait = $deadline ? $deadline - now() : undef;
    $wait = 0.1 if !$LINUX && (!defined $wait || $wait > 0.1);
    my $ready = '';
    vec($ready, fileno $_, 1) = 1 for grep { $_ } $control, $signals;
    my $count = select $ready, undef, undef, $wait;
    read_control() if $count > 0 && $control && vec($ready, fileno $control, 1);
    while ($signals && sysread $signals, my $record, 128) {
        service_is_gone() if unpack('L', $record) != POSIX::SIGCHLD();
    }
    reap();
}

open $status, '>&=', 3 or undef $status;
parse_arguments();
open $control, '<&=', 4 or fail(125, 'EBADF', 'fd 4 is not open');
fail(125, 'EBADF', 'fd 3 is not open') if !$status;
eval { become_launcher(); 1 } or fail(125, 'ESETUP', $@);
fail(125, 'ESRCH', 'the service has ended') if getppid() != $option{parent};    # perhaps before prctl asked for a signal
wait_for_start() if $option{wait};
start_command();
wait_for_news() while !defined $cli_status && !$kill_now && !($deadline && now() >= $deadline);
my ($swept, $left) = end_family();
my $signal = ($cli_status // 0) & 127;
my $code = !defined $cli_status || $signal ? 'null' : $cli_status >> 8;
report(qq("event":"exited","code":$code,"signal":) . ($signal || 'null') . qq(,"swept":$swept,"left":$left));
POSIX::_exit($signal ? 128 + $signal : $code eq 'null' ? 125 : $code);
