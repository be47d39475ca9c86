#!/usr/bin/perl
# confine: takes rights away from itself, for good, and becomes the command. The box of isolation level L2; inside the one
# of L3 it adds the filter of system calls.
#
#   perl confine.pl [--ro PATH]... [--rw PATH]... [--dev PATH]... [--connect PORT]... [--sockets strict|all] [--status FD]
#                   -- /ABSOLUTE/COMMAND [ARGS]
#
# --ro: may be read and executed, with all below it. --rw: may also be changed. --dev: a device that may be read and
# written. Nothing else may be opened. What is named for --ro or --dev and does not exist is skipped: that grants nothing.
# Without any of the three, files are left as they are.
# --connect: the only TCP ports that may be connected to. --sockets strict: TCP over IP alone, no other kind of socket; all:
# unix, IP and netlink. Either way: no tracing, no reading of other processes' memory, no keyrings, no io_uring.
#
# Exit: that of the command; 125 when it could not confine itself or not become the command, which then never ran. The
# reason goes to the FD of --status as ERRNO, a tab, and text, else to stderr. FD is closed by becoming the command.
#
# Facts: linux/landlock.h, linux/seccomp.h, linux/bpf_common.h; landlock(7): a domain is inherited and only ever narrowed.
# Landlock stands in the way of opening, not of stat, chmod, utime and setxattr, for which it has no rights. It sees
# neither connections of MPTCP sockets nor those that MSG_FASTOPEN makes: the filter refuses both.
use strict;
use warnings;
use Errno ();
# POSIX's functions alone: its Perl half, which is not needed here, takes longer to compile than all the rest.
BEGIN { require XSLoader; eval { XSLoader::load('POSIX'); 1 } or require POSIX }

use constant { CAPBSET_READ => 23, CAPBSET_DROP => 24, NO_NEW_PRIVS => 38, SECCOMP => 22, FILTER_MODE => 2 };     # prctl
use constant { O_CLOEXEC => 0x80000, O_PATH => 0x200000 };
use constant { RULESET_VERSION => 1, RULE_PATH_BENEATH => 1, RULE_NET_PORT => 2 };              # landlock
use constant { CONNECT_TCP => 2, SCOPE_ABSTRACT_SOCKETS => 1, SCOPE_SIGNALS => 2 };
use constant { EXECUTE => 1, WRITE_FILE => 2, READ_FILE => 4, READ_DIR => 8, MAKE_CHAR => 1 << 6, MAKE_BLOCK => 1 << 11,
    REFER => 1 << 13, TRUNCATE => 1 << 14, IOCTL_DEV => 1 << 15 };
use constant FIRST_VERSION_RIGHTS => (1 << 13) - 1;
# BPF: load a word of the call, compare, return. Offsets in struct seccomp_data; arguments are 64 bits wide.
use constant { LOAD => 0x20, EQUAL => 0x15, AT_LEAST => 0x35, ANY_BIT => 0x45, AND => 0x54, RETURN => 0x06 };
use constant { CALL => 0, ARCHITECTURE => 4, FIRST_ARGUMENT => 16 };
use constant { ALLOW => 0x7fff0000, ERROR => 0x00050000 };
use constant { EPERM => 1, ENOSYS => 38, EAFNOSUPPORT => 97 };
use constant { AF_UNIX => 1, AF_INET => 2, AF_INET6 => 10, AF_NETLINK => 16, SOCK_STREAM => 1, IPPROTO_TCP => 6 };
use constant { SOCKET_KIND_MASK => 0xff, MSG_FASTOPEN => 0x20000000, X32_CALL => 0x40000000 };

# System calls: syscall_64.tbl, asm-generic/unistd.h. Those from 424 on have one number everywhere.
my %LANDLOCK = (create_ruleset => 444, add_rule => 445, restrict_self => 446);
my %MACHINES = (
    x86_64 => { architecture => 0xC000003E, prctl => 157, socket => 41, sendto => 44, sendmsg => 46, sendmmsg => 307,
        # ptrace, process_vm_readv, process_vm_writev, kcmp, add_key, request_key, keyctl, bpf, perf_event_open, userfaultfd
        refused => [101, 310, 311, 312, 248, 249, 250, 321, 298, 323] },
    aarch64 => { architecture => 0xC00000B7, prctl => 167, socket => 198, sendto => 206, sendmsg => 211, sendmmsg => 269,
        refused => [117, 270, 271, 272, 217, 218, 219, 280, 241, 282] },
);
my @REFUSED_EVERYWHERE = (438);            # pidfd_getfd
my @ABSENT = (425, 426, 427);              # io_uring: a program that finds it missing does without
my (%paths, @ports, $sockets, $status, $machine);

sub fail {
    my ($text, $errno) = (@_, 0);
    if ($status) { syswrite $status, "$errno\t$text" }
    else { print STDERR "confine: $text\n" }
    exit 125;
}
sub must { my ($what, $result) = @_; fail("$what: $!") if !defined $result || $result == -1; $result }

sub parse_arguments {
    while (@ARGV && (my $name = shift @ARGV) ne '--') {
        my $value = shift(@ARGV) // '';
        if ($name =~ /\A--(?:ro|rw|dev)\z/ && $value =~ m{\A/}) { push @{$paths{substr $name, 2}}, $value }
        elsif ($name eq '--connect' && $value =~ /\A[1-9]\d{0,4}\z/ && $value < 65536) { push @ports, $value }
        elsif ($name eq '--sockets' && $value =~ /\A(?:strict|all)\z/) { $sockets = $value }
        elsif ($name eq '--status' && $value =~ /\A\d+\z/ && open $status, '>&=', $value) { }
        else { fail("bad option $name $value") }
    }
    fail('--sockets is missing') if !$sockets;
    fail('--sockets strict needs --connect') if $sockets eq 'strict' && !@ports;
    fail("there is no absolute command after --") if !@ARGV || $ARGV[0] !~ m{\A/};
    my $name = length pack('p', undef) == 8 ? (POSIX::uname())[4] : '';
    $machine = $MACHINES{$name} or fail('only 64-bit x86_64 and aarch64 are known');
}

# The file rights that this kernel's Landlock knows: one it does not know cannot be asked for.
sub known_rights {
    my ($version) = @_;
    return FIRST_VERSION_RIGHTS | ($version >= 2 ? REFER : 0) | ($version >= 3 ? TRUNCATE : 0) | ($version >= 5 ? IOCTL_DEV : 0);
}

sub allow_path {
    my ($ruleset, $rights, $kind, $path) = @_;
    my $handle;
    if (!sysopen $handle, $path, O_PATH | O_CLOEXEC) {
        return if $kind ne 'rw' && ($!{ENOENT} || $!{EACCES});
        fail("$path: $!", 0 + $!);
    }
    # A rule for a file may not name rights that only folders have.
    $rights &= EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV if !-d $path;
    my $rule = pack 'Q l', $rights, fileno $handle;
    must("rule for $path", syscall($LANDLOCK{add_rule}, $ruleset, RULE_PATH_BENEATH, $rule, 0));
}

# Files, ports, signals and abstract sockets. Nothing is restricted before prctl forbids new privileges.
sub restrict_by_landlock {
    my $version = syscall($LANDLOCK{create_ruleset}, 0, 0, RULESET_VERSION);
    fail('this kernel has no Landlock, or it is switched off') if $version < 1;
    fail("limiting TCP ports needs Linux 6.7; the Landlock of this kernel is version $version") if @ports && $version < 4;
    my $all = known_rights($version);
    my %rights = (
        ro => EXECUTE | READ_FILE | READ_DIR,
        rw => $all & ~(MAKE_CHAR | MAKE_BLOCK),
        dev => (WRITE_FILE | READ_FILE | IOCTL_DEV) & $all,
    );
    my $files = %paths ? $all : 0;
    my $scopes = $version >= 6 ? SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS : 0;
    my $handled = pack 'Q', $files;
    $handled .= pack 'Q', @ports ? CONNECT_TCP : 0 if $version >= 4;
    $handled .= pack 'Q', $scopes if $version >= 6;
    my $ruleset = must('Landlock ruleset', syscall($LANDLOCK{create_ruleset}, $handled, length $handled, 0));
    for my $kind (qw(ro rw dev)) { allow_path($ruleset, $rights{$kind}, $kind, $_) for @{$paths{$kind} // []} }
    for my $port (@ports) {
        my $rule = pack 'Q Q', CONNECT_TCP, $port;
        must("rule for port $port", syscall($LANDLOCK{add_rule}, $ruleset, RULE_NET_PORT, $rule, 0));
    }
    must('Landlock', syscall($LANDLOCK{restrict_self}, $ruleset, 0));
}

# One instruction: code, what it compares or loads, and how many instructions to skip when that is true or false.
sub instruction { my ($code, $operand, $if_true, $if_false) = (@_, 0, 0); pack 'S C C L', $code, $if_true, $if_false, $operand }
sub load { instruction(LOAD, $_[0]) }
sub argument { FIRST_ARGUMENT + 8 * $_[0] }
sub answer { instruction(RETURN, $_[0]) }
# Answers when the loaded word is the value; goes on otherwise.
sub when_equal { my ($value, $answer) = @_; return (instruction(EQUAL, $value, 0, 1), answer($answer)) }

# MSG_FASTOPEN connects from within a send. The flags of each call are at another argument.
sub refuse_fast_open {
    return map {
        my ($call, $flags) = @$_;
        (instruction(EQUAL, $call, 0, 4), load(argument($flags)), instruction(ANY_BIT, MSG_FASTOPEN, 0, 1),
            answer(ERROR | EPERM), answer(ALLOW));
    } [$machine->{sendto}, 3], [$machine->{sendmsg}, 2], [$machine->{sendmmsg}, 3];
}

# What socket() may make; the number of the call is loaded. The kind of a socket also carries flags, which do not count.
sub judge_socket {
    my @head = (instruction(EQUAL, $machine->{socket}, 1, 0), answer(ALLOW), load(argument(0)));
    my $no = answer(ERROR | EAFNOSUPPORT);
    return (@head, (map { when_equal($_, ALLOW) } AF_UNIX, AF_INET, AF_INET6, AF_NETLINK), $no) if $sockets eq 'all';
    return (@head,
        instruction(EQUAL, AF_INET, 2, 0), instruction(EQUAL, AF_INET6, 1, 0), $no,
        load(argument(1)), instruction(AND, SOCKET_KIND_MASK), instruction(EQUAL, SOCK_STREAM, 1, 0), $no,
        load(argument(2)), when_equal(0, ALLOW), when_equal(IPPROTO_TCP, ALLOW), $no);    # MPTCP is protocol 262
}

sub filter_calls {
    my @program = (
        load(ARCHITECTURE), instruction(EQUAL, $machine->{architecture}, 1, 0), answer(ERROR | ENOSYS),
        load(CALL), instruction(AT_LEAST, X32_CALL, 0, 1), answer(ERROR | ENOSYS),
        (map { when_equal($_, ERROR | EPERM) } @{$machine->{refused}}, @REFUSED_EVERYWHERE),
        (map { when_equal($_, ERROR | ENOSYS) } @ABSENT),
        ($sockets eq 'strict' ? refuse_fast_open() : ()),
        judge_socket(),
    );
    my $code = join '', @program;
    my $program = pack 'S x6 P', scalar @program, $code;
    must('filter of system calls', syscall($machine->{prctl}, SECCOMP, FILTER_MODE, $program, 0, 0));
}

# For root, who would get them all by exec. capabilities(7): what is not in the bounding set is not given.
sub drop_capabilities {
    for (my $capability = 0; syscall($machine->{prctl}, CAPBSET_READ, $capability, 0, 0, 0) != -1; $capability++) {
        must('capabilities', syscall($machine->{prctl}, CAPBSET_DROP, $capability, 0, 0, 0));
    }
}

parse_arguments();
drop_capabilities() if $> == 0;
must('no_new_privs', syscall($machine->{prctl}, NO_NEW_PRIVS, 1, 0, 0, 0));
restrict_by_landlock() if %paths || @ports;
filter_calls();
if ($status) {
    # F_SETFD, FD_CLOEXEC
    must('status', fcntl($status, 2, 1));
}
no warnings 'exec';
exec { $ARGV[0] } @ARGV or fail("$ARGV[0]: $!", 0 + $!);
