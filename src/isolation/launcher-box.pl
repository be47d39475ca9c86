#!/usr/bin/perl
# The part of the launcher (launcher.pl) that is about boxes of a command, read by it where there is one. It speaks with
# box-init.pl, the first process of a box that has processes of its own; see there for the words.
use strict;
use warnings;

our (%option, $control, $child, $cli, $init, $box_report, $deadline, $kill_now);

# fd 3 of a box is the way to say how it went. One with an init gets the command's stdout as fd 4: what makes the box stays
# in front of it, and would keep stdout open when the command has closed it.
sub hand_to_box {
    my ($outcome) = @_;
    POSIX::dup2(fileno $outcome, 3) // die "fd 3: $!\n";
    return if $option{box} ne 'init';
    POSIX::dup2(1, 4) // die "fd 4: $!\n";
    open STDOUT, '>', '/dev/null' or die "/dev/null: $!\n";
}

# The process that the init of the box calls $inner: what this one started makes the box, its child is the init, and of that
# one's children it is the one whose innermost number that is (proc(5), NSpid).
sub find_in_box {
    my ($inner, %parents) = @_;
    each_process(sub { $parents{$_[0]} = $_[2] });
    for my $pid (grep { ($parents{$parents{$_}} // 0) == $child } keys %parents) {
        open my $file, '<', "/proc/$pid/status" or next;
        ($cli, $init) = ($pid, $parents{$pid}) if grep { /\ANSpid:.*\s\Q$inner\E\n/ } readline $file;
    }
    return $cli != $child;
}

# The next line of a box that is being made; nothing at its end, or when the service has the making broken off.
sub hear {
    my ($read) = @_;
    while (1) {
        my $ready = '';
        vec($ready, fileno $_, 1) = 1 for grep { $_ } $read, $control;
        next if select($ready, undef, undef, undef) < 1;
        return readline $read if vec $ready, fileno $read, 1;
        read_control();
        return if $kill_now || $deadline;
    }
}

# Nothing in it once the command runs; else what the box said of why it does not, or undef where it ended without a word.
sub why_not_started {
    my ($read) = @_;
    $box_report = $read;
    my $word = hear($read);
    if (($word // '') =~ /\Aforked (\d+)\n/) {
        return "0\tthe process in the box is not to be found in /proc" if !find_in_box($1);
        syswrite $read, "go\n";
        $word = hear($read);
    }
    return ($word // '') eq "started\n" ? '' : $word;
}

# How the command ended. A box passes on a death by signal as an exit code, so its init says which it was.
sub ended_with {
    my ($ended) = @_;
    return (readline($box_report) // '') =~ /\Aexited (\d{1,5})\n/ ? $1 : $ended;
}

1;
