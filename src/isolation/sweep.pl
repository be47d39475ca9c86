#!/usr/bin/perl
# sweep: what a hostile run would try first, run by the start-up probe inside a box. It is told where secrets were planted,
# tries to get at each in every way it knows, and prints what it got: `NAME TEXT`, one line each. The probe knows the
# secrets; this program does not.
#
#   perl sweep.pl FILE PORT SOCKET ABSTRACT PID OUTSIDE INSIDE GATEWAY
#
# FILE, SOCKET: paths outside the box. ABSTRACT: the name of an abstract unix socket. PID: a process outside. OUTSIDE, INSIDE: a
# folder that must not be writable, one that must. GATEWAY: tcp:PORT or unix:PATH, which must answer.
use strict;
use warnings;
use Socket qw(AF_INET AF_UNIX SOCK_STREAM pack_sockaddr_in pack_sockaddr_un inet_aton);

my ($file, $secret_port, $socket, $abstract, $pid, $outside, $inside, $gateway) = @ARGV;
$SIG{PIPE} = 'IGNORE';
use constant { ANSWER_SECONDS => 2, MOST_BYTES => 4096 };

sub say_got { my ($name, $text) = @_; $text =~ s/\s+/ /g; syswrite STDOUT, "$name $text\n" if $text ne '' }

sub content {
    my ($path) = @_;
    open my $handle, '<', $path or return '';
    my $text = '';
    sysread $handle, $text, MOST_BYTES;
    return $text;
}

# What a listener says, after it was asked.
sub heard {
    my ($family, $address, $question) = @_;
    socket my $handle, $family, SOCK_STREAM, 0 or return '';
    my $text = '';
    local $SIG{ALRM} = sub { die "too slow\n" };
    eval {
        alarm ANSWER_SECONDS;
        connect $handle, $address or die "$!\n";
        syswrite $handle, $question;
        while (sysread $handle, my $more, MOST_BYTES) { $text .= $more; last if length $text > MOST_BYTES }
        alarm 0;
    };
    alarm 0;
    return $text;
}

sub local_port { my ($port) = @_; heard(AF_INET, pack_sockaddr_in($port, inet_aton('127.0.0.1')), "GET / HTTP/1.0\r\n\r\n") }
# By its name alone, from its folder: the path of a unix socket may have 107 bytes only.
sub unix_socket { my ($path) = @_; my $name = $path =~ s{\A(/.*)/}{}r; chdir $1 if $1; heard(AF_UNIX, pack_sockaddr_un($name), "GET / HTTP/1.0\r\n\r\n") }

sub writes {
    my ($path, $text) = @_;
    open my $handle, '>', $path or return 0;
    return syswrite($handle, $text) && close $handle;
}

say_got('file', content($file));
for my $process (glob '/proc/[0-9]*') {
    next if $process eq "/proc/$$";
    my $environment = content("$process/environ");
    say_got('environment', $1) if $environment =~ /\bCC_PROBE_SECRET=(\w+)/;
    say_got('arguments', $1) if content("$process/cmdline") =~ /\bprobe-secret-(\w+)/;
}
say_got('port', local_port($secret_port));
say_got('socket', unix_socket($socket));
say_got('abstract socket', unix_socket("\0$abstract"));
kill 'USR1', $pid;
writes("$outside/written", 'written');
say_got('workspace', 'written') if writes("$inside/written", 'written');
say_got('gateway', $gateway =~ /\Atcp:(\d+)\z/ ? local_port($1) : $gateway =~ /\Aunix:(.+)\z/ ? unix_socket($1) : '');
say_got('end', 'end');
