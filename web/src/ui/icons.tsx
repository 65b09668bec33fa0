// Line icons, 20 by 20, drawn for this page. They say nothing to a screen reader: the control that holds one does.

import type { ComponentChildren } from 'preact';

function icon(children: ComponentChildren) {
  return () => (
    <svg class="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      {children}
    </svg>
  );
}

export const Search = icon(<><circle cx="9" cy="9" r="5.2" /><path d="m13 13 4 4" /></>);
export const Close = icon(<path d="m5 5 10 10M15 5 5 15" />);
export const Back = icon(<path d="m12 4-6 6 6 6" />);
export const Plus = icon(<path d="M10 4v12M4 10h12" />);
export const Minus = icon(<path d="M4 10h12" />);
export const Fit = icon(<path d="M3.5 7V3.5H7M13 3.5h3.5V7M16.5 13v3.5H13M7 16.5H3.5V13" />);
export const Sun = icon(<><circle cx="10" cy="10" r="3.4" /><path d="M10 2v2M10 16v2M2 10h2M16 10h2M4.4 4.4l1.4 1.4M14.2 14.2l1.4 1.4M15.6 4.4l-1.4 1.4M5.8 14.2l-1.4 1.4" /></>);
export const Moon = icon(<path d="M16 11.8A6.6 6.6 0 0 1 8.2 4a6.6 6.6 0 1 0 7.8 7.8Z" />);
export const Target = icon(<><circle cx="10" cy="10" r="5.5" /><path d="M10 2v4M10 14v4M2 10h4M14 10h4" /></>);
export const Enter = icon(<path d="M11 4h4.5v12H11M3 10h8.5M8 6.5l3.5 3.5L8 13.5" />);
export const Exit = icon(<path d="M9 4H4.5v12H9M8 10h9M13.5 6.5 17 10l-3.5 3.5" />);
export const Dwell = icon(<><circle cx="10" cy="10" r="6.500" /><path d="M10 6.200V10l2.600 1.800" /></>);
export const Cross = icon(<><path d="M7 4H4.500v12H7M13 4h2.500v12H13M1.500 10h16M14.500 7l3 3-3 3" /></>);
export const Speeding = icon(<><path d="M4.600 15.200a7 7 0 1 1 10.800 0M10 11.500l3.400-4" /><circle cx="10" cy="11.500" r="1" /></>);
export const Absent = icon(<><circle cx="10" cy="10" r="6.500" stroke-dasharray="2.600 2.500" /><path d="M10 6.800v4M10 13.200v.1" /></>);
export const Online = icon(<><path d="M4 8.500a8.500 8.500 0 0 1 12 0M6.600 11.300a4.800 4.800 0 0 1 6.800 0" /><circle cx="10" cy="14.500" r="1" /></>);
export const Silent = icon(<><path d="M6.600 11.300a4.800 4.800 0 0 1 6.800 0" /><circle cx="10" cy="14.500" r="1" /></>);
export const Offline = icon(<><path d="M4 8.500a8.500 8.500 0 0 1 12 0M6.600 11.300a4.800 4.800 0 0 1 6.800 0M4.500 3.500l11 13" /><circle cx="10" cy="14.500" r="1" /></>);
export const Heat = icon(<><circle cx="7" cy="12" r="3.400" /><circle cx="13.500" cy="7" r="2.400" /><circle cx="15" cy="14.500" r="1.200" /><circle cx="6.500" cy="4.800" r="1.200" /></>);
export const Fence = icon(<path d="M4 6.500 10.500 3.500 16 8l-2 8-8.500.500Z" />);
export const Dot = icon(<circle cx="10" cy="10" r="3" />);
export const Bell = icon(<path d="M5 13.5V9a5 5 0 0 1 10 0v4.5l1.2 1.5H3.8ZM8.5 17h3" />);
export const Copy = icon(<><rect x="7" y="7" width="9" height="9" rx="1.8" /><path d="M13 4.5H5.8A1.8 1.8 0 0 0 4 6.300V13" /></>);
export const North = icon(<path d="m10 3 4.2 13L10 13.200 5.800 16Z" />);
export const Door = icon(<path d="M8.500 4H4.500v12h4M12.500 6.500 16 10l-3.500 3.500M16 10H8" />);
