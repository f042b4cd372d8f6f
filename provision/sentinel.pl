# Makes control groups stand still while the memory of this machine is kept, and lets them go on: where its memory is
# restored at another time, once the clock and the random pool are right; here, when the standard input ends.
# Arguments: the file with the fingerprint of the certificates; the server, the question and a part of the right answer of
# cluster DNS, in hexadecimal digits; and the control groups below /sys/fs/cgroup, the pods' first.
use strict;
use warnings;

my ($certificates, $server, $question, $answer, @groups) = @ARGV;

sub line {
    open my $file, '<', $_[0] or return '';
    my $line = <$file> // '';
    chomp $line;
    return $line;
}

# Writes to a file of a control group, where it is there.
sub put {
    open my $file, '>', "/sys/fs/cgroup/$_[0]" or return;
    print $file $_[1];
}

sub freeze {
    my ($frozen, @groups) = @_;
    put("$_/cgroup.freeze", $frozen) for @groups;
}

# With 1 the units of systemd get a processor only where no pod wants one, with 0 as usual. Those who start pods have as much to do
# after a long sleep as the pods have, and would be in their way. This script leaves its unit, to be in time.
sub defer {
    put('cgroup.procs', $$);
    put('system.slice/cpu.idle', $_[0]);
}

# How far the hardware's clock, which goes on while the machine does not, is ahead of the time that the machine has run, in
# seconds. The former has whole seconds, so the result may be up to one too small.
sub ahead {
    my ($ran) = split ' ', line('/proc/uptime');
    return line('/sys/class/rtc/rtc0/since_epoch') - $ran;
}

# Without these nobody here could tell that time has passed, or what to draw random numbers from.
-e '/sys/class/rtc/rtc0/since_epoch' && -e '/dev/hwrng' or die "no clock or no random numbers of the hardware\n";

# 227 is clock_settime(2) on amd64, and its 0 the clock of the day. The program for it, which an emulated machine has to translate
# first, takes as long as all else here.
sub set_clock {
    return syscall(227, 0, pack 'q2', $_[0], 0) == 0 || system('date', '-s', "\@$_[0]") == 0;
}

# What a virtual machine reads first may have been drawn before its memory was kept, in all that go on from there.
# RNDRESEEDCRNG is 0x5207 (random(4)).
sub reseed {
    open my $hardware, '<:raw', '/dev/hwrng' or return 0;
    open my $pool, '>:raw', '/dev/urandom' or return 0;
    for my $round (1 .. 8) {
        sysread $hardware, my $drawn, 64 or return 0;
        syswrite $pool, $drawn;
    }
    return ioctl $pool, 0x5207, 0;
}

sub announce {
    open my $console, '>', '/dev/console' or return;
    print $console "\nskiff: $_[0]\n";
}

# Asks cluster DNS by UDP (2 is AF_INET and SOCK_DGRAM, 53 the port) until it answers rightly, and no more than ten times.
sub resolves {
    socket my $dns, 2, 2, 0 or return 0;
    connect $dns, pack 'S n H8 x8', 2, 53, $server or return 0;
    for (1 .. 10) {
        send $dns, pack('H*', $question), 0;
        vec(my $input = '', fileno $dns, 1) = 1;
        select $input, undef, undef, 0.2 or next;
        recv $dns, my $reply, 512, 0 // next;
        return 1 if index($reply, pack 'H*', $answer) >= 0;
    }
    return 0;
}

# Returns once a control group keeps less than half a processor busy for a tenth of a second, and after 3 s at the latest.
sub calm {
    my $used = 0;
    for (0 .. 30) {
        my $before = $used;
        ($used) = line("/sys/fs/cgroup/$_[0]/cpu.stat") =~ /(\d+)/; # microseconds
        return if $before and $used - $before < 5e4;
        select undef, undef, undef, 0.1;
    }
}

# Who asked for this may have been killed meanwhile. To end by that would leave all frozen; the end of the standard input thaws.
$SIG{$_} = 'IGNORE' for qw(HUP PIPE);

system 'sync';
my $usual = ahead();
freeze(1, @groups);
for my $group (@groups) {
    for (1 .. 100) {
        last unless -e "/sys/fs/cgroup/$group" and line("/sys/fs/cgroup/$group/cgroup.freeze") eq '1';
        open my $events, '<', "/sys/fs/cgroup/$group/cgroup.events" or last;
        last if grep { $_ eq "frozen 1\n" } <$events>;
        select undef, undef, undef, 0.005;
    }
}
$| = 1;
print "still\n";

for (1 .. 1500) {
    if (ahead() > $usual + 1) {
        set_clock(line('/sys/class/rtc/rtc0/since_epoch')) and reseed() or last;
        my $pods = shift @groups;
        defer(1);
        freeze(0, $pods);
        announce('awake ' . line($certificates));
        my $answers = resolves();
        freeze(0, @groups);
        announce('cluster DNS answers') if $answers;
        calm($pods);
        defer(0);
        exit;
    }
    vec(my $input = '', 0, 1) = 1;
    last if select $input, undef, undef, 0.02;
}
freeze(0, @groups);
