#!/usr/bin/perl
# box-init: the first process of a box with processes of its own (isolation level L3). It starts the command, reaps what
# loses its parent, and says outside how the command began and ended: the program that makes the box would tell a death by
# signal and an exit code apart no more. When it exits, the kernel kills everything in the box.
#
#   perl box-init.pl [--bridge PORT=SOCKET]... -- /ABSOLUTE/COMMAND [ARGS]
#
# fd 3: a socket to the launcher, one line each: `forked PID`, as the box counts, upon which the command waits for `go`, so
# that it is found outside before it does anything; `started`; `exited STATUS`, as wait(2) encodes it; or ERRNO, a tab, and
# why it did not start. The command gets its own end of a pipe as fd 3, and says there in the same way why it could not
# become what it was to be; its closing without a word means that it did. fd 4: the command's stdout, which nobody else is
# to hold open.
# --bridge: connections to the port on the box's loopback go to the unix socket. A bridge that does not listen within
# BRIDGE_SECONDS is a failure to start.
use strict;
use warnings;
use Errno ();
# POSIX's functions alone: its Perl half, which is not needed here, takes longer to compile than all the rest.
BEGIN { require XSLoader; eval { XSLoader::load('POSIX'); 1 } or require POSIX }

use constant { STATUS => 3, OUTPUT => 4, BRIDGE_SECONDS => 2, DUMPABLE => 4 };
my %PRCTL = (x86_64 => 157, aarch64 => 167);
my @bridges;

open my $launcher, '+<&=', STATUS or POSIX::_exit(125);
sub report { syswrite $launcher, "$_[0]\n" }
sub fail { my ($errno, $text) = @_; report("$errno\t$text"); POSIX::_exit(125) }

sub parse_arguments {
    while (@ARGV && (my $name = shift @ARGV) ne '--') {
        my $value = shift(@ARGV) // '';
        fail(0, "bad option $name $value") if $name ne '--bridge' || $value !~ m{\A([1-9]\d{0,4})=(/.+)\z};
        push @bridges, [$1, $2];
    }
    fail(0, 'there is no absolute command after --') if !@ARGV || $ARGV[0] !~ m{\A/};
}

# Whether somebody listens on the port: the kernel's own list, so that nothing has to connect. 0A is LISTEN.
sub listens {
    my $address = sprintf '0100007F:%04X', $_[0];
    open my $list, '<', '/proc/net/tcp' or return;
    return scalar grep { /\A\s*\d+: \Q$address\E \S+ 0A / } readline $list;
}

sub start_bridge {
    my ($port, $socket) = @_;
    my $bridge = fork // fail(0 + $!, "fork: $!");
    if ($bridge == 0) {
        POSIX::close($_) for STATUS, OUTPUT;
        open $_, '+<', '/dev/null' for \*STDIN, \*STDOUT, \*STDERR;
        no warnings 'exec';
        exec '/usr/bin/socat', "TCP-LISTEN:$port,bind=127.0.0.1,fork,reuseaddr", "UNIX-CONNECT:$socket";
        POSIX::_exit(127);
    }
    my $tries = BRIDGE_SECONDS * 500;
    while (!listens($port)) {
        fail(0, "the bridge to $socket does not listen; is socat installed?") if !$tries-- || waitpid($bridge, POSIX::WNOHANG()) != 0;
        select undef, undef, undef, 0.002;
    }
}

# Returns the pid of the command, once it is known to run.
sub start_command {
    pipe my $read, my $outcome or fail(0 + $!, "pipe: $!");
    pipe my $wait, my $go or fail(0 + $!, "pipe: $!");
    my $command = fork // fail(0 + $!, "fork: $!");
    if ($command == 0) {
        close $go;
        readline $wait;
        POSIX::dup2(OUTPUT, 1);
        POSIX::close(OUTPUT);
        # Not closed by exec: a program in between may have something to say.
        POSIX::dup2(fileno $outcome, STATUS);
        no warnings 'exec';
        exec { $ARGV[0] } @ARGV;
        my $word = (0 + $!) . "\t$ARGV[0]: $!";
        POSIX::write(STATUS, $word, length $word);
        POSIX::_exit(126);
    }
    close $outcome;
    report("forked $command");
    (readline($launcher) // '') eq "go\n" or POSIX::_exit(125);
    close $go;
    POSIX::close(OUTPUT);
    open $_, '+<', '/dev/null' for \*STDIN, \*STDOUT;
    my $word = join '', readline $read;
    fail(split /\t/, $word, 2) if $word ne '';
    return $command;
}

parse_arguments();
my $prctl = $PRCTL{(POSIX::uname())[4]} or fail(0, 'only 64-bit x86_64 and aarch64 are known');
# Nothing in the box may reach into this process, whose fd 3 would let it report an end of its own making.
syscall($prctl, DUMPABLE, 0, 0, 0, 0) == 0 or fail(0 + $!, "prctl: $!");
start_bridge(@$_) for @bridges;
my $command = start_command();
report('started');
while ((my $pid = waitpid -1, 0) != -1) {
    next if $pid != $command;
    report("exited $?");
    POSIX::_exit($? & 127 ? 128 + ($? & 127) : $? >> 8);
}
fail(0, 'the command was lost');
